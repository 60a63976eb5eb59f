//! The HTTP server: the page, its parts, and one stream of events for each browser.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use serde::Deserialize;
use sharing_bus::Overflow;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::{select, signal, task, time};

use crate::args::Args;
use crate::feed::Feed;
use crate::guard::{Loopback, guard};
use crate::overview::Overview;
use crate::{Bus, filter};

/// Bytes that the system takes for a browser that does not read: little, so that what is lost is lost in its queue, where
/// it is counted, and soon.
const SEND_BUFFER: u32 = 32 * 1024;
const BACKLOG: u32 = 1024;
/// How long browsers may take for what is queued once the bus has ended.
const GRACE: Duration = Duration::from_secs(2);
/// Seconds after which a browser that was refused may ask again.
const RETRY_AFTER: &str = "2";

/// The page: path, media type, content.
const ASSETS: [(&str, &str, &str); 7] = [
    ("/", "text/html; charset=utf-8", include_str!("../assets/index.html")),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_str!("../assets/style.css"),
    ),
    ("/app.js", JAVASCRIPT, include_str!("../assets/app.js")),
    ("/feed.js", JAVASCRIPT, include_str!("../assets/feed.js")),
    ("/log.js", JAVASCRIPT, include_str!("../assets/log.js")),
    ("/panels.js", JAVASCRIPT, include_str!("../assets/panels.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

struct Host {
    bus: Bus,
    overview: Arc<Overview>,
    places: Arc<Semaphore>,
    max_browsers: usize,
    queue: usize,
    browsers: AtomicU64,
}

pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    host: Arc<Host>,
}

/// Binds to the address asked for. Whoever connects from now on is served as soon as [`Server::serve`] runs.
pub(crate) fn bind(args: &Args, bus: Bus, overview: Arc<Overview>) -> io::Result<Server> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", args.listen));
    let listener = listen(args.listen).map_err(named)?;
    let max_browsers = args.max_browsers.get();
    Ok(Server {
        address: listener.local_addr()?,
        listener,
        host: Arc::new(Host {
            bus,
            overview,
            places: Arc::new(Semaphore::new(max_browsers)),
            max_browsers,
            queue: args.queue.get(),
            browsers: AtomicU64::new(0),
        }),
    })
}

/// A listener whose connections have a small send buffer.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(cfg!(unix))?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until ctrl-c; then ends the bus, and with it every stream.
    pub(crate) async fn serve(self) -> io::Result<()> {
        let Server {
            listener,
            address,
            host,
        } = self;
        let overview = Arc::clone(&host.overview);
        let overview = task::spawn(async move { overview.keep().await });
        let bus = host.bus.clone();
        let closing = async move {
            stop_asked().await;
            // The thread that joins the dispatch thread is none of the runtime's.
            let ended = task::spawn_blocking(move || bus.shutdown()).await;
            ended.expect("shutdown does not panic");
        };
        let (closed, close) = tokio::sync::oneshot::channel();
        let served = axum::serve(listener, routes(host, address)).with_graceful_shutdown(async move {
            closing.await;
            let _ = closed.send(());
        });
        let grace = async move {
            if close.await.is_ok() {
                time::sleep(GRACE).await;
            }
        };
        let served = select! {
            served = served => served,
            () = grace => Ok(()),
        };
        overview.abort();
        served
    }
}

fn routes(host: Arc<Host>, address: SocketAddr) -> Router {
    let mut routes = Router::new().route("/events", get(events)).with_state(host);
    for (path, media_type, content) in ASSETS {
        let asset = move || async move { ([(header::CONTENT_TYPE, media_type)], content) };
        routes = routes.route(path, get(asset));
    }
    let loopback = Loopback(address.ip().is_loopback());
    routes.layer(middleware::from_fn_with_state(loopback, guard))
}

/// Ctrl-c, or what a service manager sends.
async fn stop_asked() {
    #[cfg(unix)]
    {
        let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
        let mut terminate = terminate.expect("the signal can be listened to");
        select! {
            _ = signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = signal::ctrl_c().await;
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    filter: String,
}

async fn events(State(host): State<Arc<Host>>, Query(Wanted { filter }): Query<Wanted>) -> Response {
    let filter = match filter::parse(&filter) {
        Ok(filter) => filter,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let Ok(place) = Arc::clone(&host.places).try_acquire_owned() else {
        let message = format!(
            "{} browsers are watching, and more are not admitted\n",
            host.max_browsers
        );
        let headers = [(header::RETRY_AFTER, RETRY_AFTER)];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, message).into_response();
    };
    // Ordering: Relaxed, a number for a label.
    let number = host.browsers.fetch_add(1, Ordering::Relaxed) + 1;
    let text = filter.to_string();
    let receiver = host
        .bus
        .subscription()
        .filter(filter)
        .queue_capacity(host.queue)
        // Who watches the present can do without the oldest events.
        .overflow(Overflow::DropOldest)
        .backlog(host.queue)
        .label(format!("browser {number}"))
        .subscribe();
    let feed = Feed {
        receiver,
        overview: host.overview.watch(),
        _place: place,
    };
    Sse::new(feed.stream(text))
        .keep_alive(KeepAlive::default())
        .into_response()
}
