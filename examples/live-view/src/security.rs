//! Rejection of foreign requests, and security headers for all responses.
//!
//! Every page that is open in a browser can send requests to a server on loopback. DNS rebinding makes another host
//! name resolve to loopback. The `Host` header reveals requests to such a name. Other cross-site requests are
//! recognized by their `Sec-Fetch-Site` header.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const RESPONSE_HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether the server is bound to a loopback address.
#[derive(Clone, Copy)]
pub(crate) struct Loopback(pub(crate) bool);

pub(crate) async fn enforce(State(Loopback(loopback)): State<Loopback>, request: Request, next: Next) -> Response {
    let mut response = if loopback && !is_local(request.headers()) {
        (
            StatusCode::FORBIDDEN,
            "this server accepts requests to localhost only\n",
        )
            .into_response()
    } else if is_cross_site(&request) {
        (StatusCode::FORBIDDEN, "cross-site requests are not allowed\n").into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in RESPONSE_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns whether the `Host` header is a loopback address or `localhost`. Neither can be the name of another site.
/// Any port is accepted because the port may be forwarded.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns whether a page of another site requests a path other than the page itself. Links to the page are allowed.
fn is_cross_site(request: &Request) -> bool {
    request.uri().path() != "/"
        && request
            .headers()
            .get("sec-fetch-site")
            .is_some_and(|site| site == "cross-site" || site == "same-site")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_local() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:7878", true),
            ("127.0.0.1:7878", true),
            ("127.0.0.1", true),
            ("[::1]:7878", true),
            ("[::1]", true),
            ("127.0.0.2:7878", true),
            ("192.0.2.1:7878", false),
            ("0.0.0.0:7878", false),
            ("localhost.evil.example", false),
            ("evil.example:7878", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:x", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_local(&headers), expected, "{host}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }
}
