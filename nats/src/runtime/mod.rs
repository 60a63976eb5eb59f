//! The thread that runs the client, so that neither the bus nor the host needs a runtime.
//!
//! 1. `redact.rs`: keeps credentials out of the client's traces.
//! 2. `panic.rs`: contains panics of the host's code.
//! 3. `latch.rs`: a one-shot signal to the host's threads.

pub(crate) mod latch;
pub(crate) mod panic;
pub(crate) mod redact;

use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::Runtime;

use crate::error::StartError;
use crate::runtime::redact::Scope;

/// Reports the outcome of the start to the thread that called [`start`].
pub(crate) type StartReport<T> = mpsc::Sender<Result<T, StartError>>;

/// Runs the future that `run` returns on a new thread, and waits until the future reports that it has started. `last`
/// is dropped after all other values, even if the thread panics.
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
        // The thread does not wait for a pending name lookup.
        runtime.shutdown_background();
    };
    let thread = Builder::new().name(name.to_owned());
    let thread = thread.spawn(body).map_err(StartError::Spawn)?;
    // The thread ends without a report only if it panicked.
    let gone = |_| StartError::Client(format!("the thread {name} has ended"));
    Ok((reported.recv().map_err(gone)??, thread))
}

/// Creates the runtime that drives a client on the current thread.
pub(crate) fn runtime() -> Result<Runtime, StartError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(StartError::Spawn)
}
