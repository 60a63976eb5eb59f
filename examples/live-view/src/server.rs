//! The HTTP server. It serves the page, its assets, and one stream of events for each browser.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use serde::Deserialize;
use sharing_bus::Overflow;
use sharing_bus_example_sessions::Bus;
use tokio::sync::Semaphore;
use tokio::{select, signal, task};

use crate::args::Args;
use crate::connections::Listener;
use crate::feed::Feed;
use crate::filter;
use crate::overview::Overview;
use crate::security::{self, Loopback};

/// Number of connections in addition to the event streams. They serve the page and send error responses.
const EXTRA_CONNECTIONS: usize = 64;
/// Number of seconds after which a rejected browser may try again.
const RETRY_AFTER: &str = "2";

/// The files of the page: path, media type and content.
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

struct AppState {
    bus: Bus,
    overview: Arc<Overview>,
    permits: Arc<Semaphore>,
    max_browsers: usize,
    queue: usize,
    browsers: AtomicU64,
}

pub(crate) struct Server {
    listener: Listener,
    state: Arc<AppState>,
}

/// Binds to the requested address. The kernel accepts connections from now on, and [`Server::serve`] serves them.
pub(crate) fn bind(args: &Args, bus: Bus, overview: Arc<Overview>) -> io::Result<Server> {
    let listener = Listener::bind(args.listen)?;
    let max_browsers = args.max_browsers as usize;
    Ok(Server {
        listener,
        state: Arc::new(AppState {
            bus,
            overview,
            permits: Arc::new(Semaphore::new(max_browsers)),
            max_browsers,
            queue: args.queue as usize,
            browsers: AtomicU64::new(0),
        }),
    })
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Serves requests until ctrl-c, and then shuts the bus down, which ends all streams.
    pub(crate) async fn serve(self) {
        let Server { listener, state } = self;
        let overview = Arc::clone(&state.overview);
        let overview = task::spawn(async move { overview.run().await });
        let bus = state.bus.clone();
        let ended = async move {
            shutdown_signal().await;
            // `shutdown` joins the dispatch thread, so it must not run inside an async task.
            let ended = task::spawn_blocking(move || bus.shutdown()).await;
            ended.expect("shutdown does not panic");
        };
        let max_connections = state.max_browsers + EXTRA_CONNECTIONS;
        let loopback = Loopback(listener.address().ip().is_loopback());
        listener.serve(routes(state, loopback), max_connections, ended).await;
        overview.abort();
    }
}

fn routes(state: Arc<AppState>, loopback: Loopback) -> Router {
    let mut routes = Router::new().route("/events", get(events)).with_state(state);
    for (path, media_type, content) in ASSETS {
        let asset = move || async move { ([(header::CONTENT_TYPE, media_type)], content) };
        routes = routes.route(path, get(asset));
    }
    routes.layer(middleware::from_fn_with_state(loopback, security::enforce))
}

/// Completes on ctrl-c, or on the `SIGTERM` of a service manager.
async fn shutdown_signal() {
    #[cfg(unix)]
    {
        let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
        let mut terminate = terminate.expect("the signal handler can be installed");
        select! {
            _ = signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = signal::ctrl_c().await;
}

#[derive(Deserialize)]
struct EventsQuery {
    #[serde(default)]
    filter: String,
}

async fn events(State(state): State<Arc<AppState>>, Query(EventsQuery { filter }): Query<EventsQuery>) -> Response {
    let filter = match filter::parse(&filter) {
        Ok(filter) => filter,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let Ok(permit) = Arc::clone(&state.permits).try_acquire_owned() else {
        let message = format!("too many browsers: the limit is {}\n", state.max_browsers);
        let headers = [(header::RETRY_AFTER, RETRY_AFTER)];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, message).into_response();
    };
    // Ordering: Relaxed. The number is used only in a label.
    let number = state.browsers.fetch_add(1, Ordering::Relaxed) + 1;
    let text = filter.to_string();
    let receiver = state
        .bus
        .subscription()
        .filter(filter)
        .queue_capacity(state.queue)
        // The page shows the latest events, so a full queue drops the oldest ones.
        .overflow(Overflow::DropOldest)
        // Half of the queue remains free for new events.
        .backlog(state.queue / 2)
        .label(format!("browser {number}"))
        .subscribe();
    let feed = Feed {
        receiver,
        filter: text,
        overview: state.overview.watch(),
        _permit: permit,
    };
    Sse::new(feed.stream()).keep_alive(KeepAlive::default()).into_response()
}
