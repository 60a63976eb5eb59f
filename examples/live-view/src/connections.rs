//! The connections, with limits on their number, their idle time and their buffers.
//!
//! The buffers are small. Events that a browser does not read therefore wait in its queue on the bus, which counts
//! losses.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::{select, task, time};

/// Size of the buffer of one connection in this process, in bytes. It also limits the size of a request head.
const MAX_BUFFER: usize = 16 * 1024;
/// Size of the send buffer of one connection in the kernel, in bytes.
const SEND_BUFFER: u32 = 32 * 1024;
/// Number of connections that the kernel queues until the server accepts them.
const ACCEPT_BACKLOG: u32 = 1024;
/// Maximum time to wait for the head of a request, including the next request on a kept-alive connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time to finish the open responses when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Delay after a failed `accept`, which can fail because too many files are open.
const RETRY_DELAY: Duration = Duration::from_millis(500);

pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let with_address = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
        let listener = listen(address).map_err(with_address)?;
        Ok(Listener {
            address: listener.local_addr()?,
            listener,
        })
    }

    /// Returns the local address. If port 0 was requested, it has the port that the system assigned.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves at most `max_connections` connections at a time until `stop` completes. Then waits until all responses
    /// are finished, but no longer than the shutdown timeout.
    pub(crate) async fn serve(self, routes: Router, max_connections: usize, stop: impl Future<Output = ()>) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIMEOUT)
            .max_buf_size(MAX_BUFFER);
        let permits = Arc::new(Semaphore::new(max_connections));
        let open = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            let (stream, permit) = select! {
                accepted = accept(&self.listener, &permits) => accepted,
                () = &mut stop => break,
            };
            let service = TowerToHyperService::new(routes.clone());
            let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
            task::spawn(async move {
                // Errors are ignored: the client has disconnected or has sent invalid HTTP.
                let _ = connection.await;
                drop(permit);
            });
        }
        let _ = time::timeout(SHUTDOWN_TIMEOUT, open.shutdown()).await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restarted server can bind the port immediately. On other systems, this option would let several processes share
    // the port.
    socket.set_reuseaddr(cfg!(unix))?;
    // Accepted connections inherit this size from the listener.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

/// Accepts the next connection once a permit is available. This function is cancel safe.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(_) => time::sleep(RETRY_DELAY).await,
        }
    }
}
