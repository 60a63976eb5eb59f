//! A thread of one's own that runs the client, so that neither the bus nor the host needs a runtime.

pub(crate) mod latch;
pub(crate) mod panic;
pub(crate) mod redact;

use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::Runtime;

use crate::error::StartError;
use crate::runtime::redact::Scope;

/// Tells whoever starts the thread how that went.
pub(crate) type StartReport<T> = mpsc::Sender<Result<T, StartError>>;

/// Runs what `run` returns on a new thread, and waits until it has told that it has begun. `last` is dropped after
/// everything else, however the thread ends.
pub(crate) fn start<T, F>(
    name: &str,
    last: impl Send + 'static,
    run: impl FnOnce(StartReport<T>) -> F + Send + 'static,
) -> Result<(T, JoinHandle<()>), StartError>
where
    T: Send + 'static,
    F: Future<Output = ()>,
{
    let (report, reported) = mpsc::channel();
    let runtime = runtime()?;
    let scope = Scope::new();
    let body = move || {
        let _last = last;
        scope.run(|| runtime.block_on(run(report)));
        // A look-up of a name that hangs is not waited for.
        runtime.shutdown_background();
    };
    let thread = Builder::new().name(name.to_owned());
    let thread = thread.spawn(body).map_err(StartError::Spawn)?;
    // It ends without a word only if it panicked.
    let gone = |_| StartError::Client(format!("the thread {name} has ended"));
    Ok((reported.recv().map_err(gone)??, thread))
}

pub(crate) fn runtime() -> Result<Runtime, StartError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(StartError::Spawn)
}
