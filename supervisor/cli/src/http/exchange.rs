//! One request, one answer.

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http;
use hyper::{Method, StatusCode};

use http_body_util::Full;

/// A request, before it is known which server gets it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query, already escaped, beginning with `/`.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request without body.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The same with a body of `content_type`.
    pub(crate) fn with_body(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Request {
        self.headers.push((
            hyper::header::CONTENT_TYPE,
            HeaderValue::from_static(content_type),
        ));
        self.body = body.into();
        self
    }

    /// May be sent again when it is unknown whether the server saw it.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.method == Method::GET
    }

    pub(super) fn to_hyper(&self, host: &str) -> Result<http::Request<Full<Bytes>>, http::Error> {
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(hyper::header::HOST, host)
            .body(Full::new(Bytes::from(self.body.clone())))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    /// The header `name` as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
