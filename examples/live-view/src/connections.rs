//! The connections: how many, how long they may be idle, and how much is buffered for them.
//!
//! Little is buffered, so that what a browser does not read waits in its queue on the bus, where it is counted.

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

/// Bytes for one connection in this process, which is also the longest request,
const MAX_BUFFER: usize = 16 * 1024;
/// and in the system.
const SEND_BUFFER: u32 = 32 * 1024;
/// Connections that the system holds until there is room.
const ACCEPT_BACKLOG: u32 = 1024;
/// How long a request, or the next one, may take to come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long clients may take for the end of their answers once the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a connection that could not be had: there may be too many open files.
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

    /// Where it listens; the port is the one it was given if any was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves at most so many connections at once, until `stop` is done and every answer is, or the grace is over.
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
                // An error is the client's: it is gone, or it did not speak HTTP.
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
    // So that a restart need not wait; elsewhere it would mean sharing the port.
    socket.set_reuseaddr(cfg!(unix))?;
    // Connections have it from the listener.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

/// The next connection, once there is room for it. Cancel safe.
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
