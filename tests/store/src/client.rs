//! One HTTP connection to a server, for what is not a load: health, filling, watching.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    /// Connects to a port on loopback.
    pub async fn connect(port: u16) -> Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client {
            sender,
            host: format!("127.0.0.1:{port}"),
        })
    }

    /// Sends a request; its answer's body may still be on its way.
    pub async fn send(&mut self, method: Method, path: &str, form: String) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", &self.host);
        if !form.is_empty() {
            request = request.header("Content-Type", "application/x-www-form-urlencoded");
        }
        Ok(self.sender.send_request(request.body(Full::from(form))?).await?)
    }

    /// Sends a request of any kind and reads its whole answer.
    pub async fn request(&mut self, request: Request<String>) -> Result<Response<Bytes>> {
        self.sender.ready().await?;
        let (mut head, body) = request.into_parts();
        head.headers.insert("Host", self.host.parse()?);
        let request = Request::from_parts(head, Full::from(body));
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Sends a request and reads its whole answer.
    pub async fn ask(&mut self, method: Method, path: &str, form: String) -> Result<Response<Bytes>> {
        let (head, body) = self.send(method, path, form).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// GETs a path: status and body.
    pub async fn get(&mut self, path: &str) -> Result<(u16, Vec<u8>)> {
        let answer = self.ask(Method::GET, path, String::new()).await?;
        Ok((answer.status().as_u16(), answer.into_body().to_vec()))
    }

    /// Sets a v2 key.
    pub async fn put(&mut self, key: &str, value: &str) -> Result<u16> {
        let path = format!("/v2/keys{key}");
        let answer = self.ask(Method::PUT, &path, format!("value={value}")).await?;
        Ok(answer.status().as_u16())
    }
}

/// How many connections fill a server.
const FILLERS: usize = 64;

/// Sets the keys `<prefix>0` up to `count`.
pub async fn fill(port: u16, prefix: &'static str, count: usize, value: &str) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..FILLERS {
        let value = value.to_owned();
        tasks.spawn(async move {
            let mut client = Client::connect(port).await?;
            for number in (first..count).step_by(FILLERS) {
                let status = client.put(&format!("{prefix}{number}"), &value).await?;
                anyhow::ensure!(status == 201, "a PUT of a new key was answered {status}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
