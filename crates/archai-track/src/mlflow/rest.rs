//! Requests to an MLflow server, and what its answers mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use archai_engine::files::FileError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body, SendBody};

use crate::error::TrackError;

/// Longest that a server may take to be connected to, and to begin an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest for a whole request; files take their time.
const WHOLE: Duration = Duration::from_secs(30);
/// Longest for a file.
const UPLOAD: Duration = Duration::from_secs(600);
/// Longest answer that is read.
const ANSWER: u64 = 64 << 20;
/// Longest part of an answer that a message shows.
const SHOWN: usize = 300;

/// What stands as it is in addresses (RFC 3986, unreserved).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Why a request came to nothing.
#[derive(Debug)]
pub enum RestError {
    /// The server cannot be reached, or is in no state to answer; it may be later.
    Down(String),
    /// The server does not want this request.
    Refused {
        /// MLflow's name for the reason, as `RESOURCE_DOES_NOT_EXIST`.
        code: String,
        /// What it says.
        message: String,
    },
    /// A file of the run cannot be read.
    File(FileError),
}

impl From<RestError> for TrackError {
    fn from(error: RestError) -> Self {
        match error {
            RestError::Down(why) => TrackError::Server(why),
            RestError::Refused { code, message } => {
                TrackError::Server(format!("the server refuses: {message} ({code})"))
            }
            RestError::File(error) => TrackError::File(error),
        }
    }
}

/// A server.
pub struct Rest {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

impl Rest {
    /// The server at `url`. `vars` are the environment's variables: `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and
    /// `MLFLOW_TRACKING_PASSWORD`, are sent to it and to nobody else; `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` say
    /// through whom.
    ///
    /// # Errors
    /// A proxy that is none.
    pub fn new(url: &str, vars: &BTreeMap<String, String>) -> Result<Self, TrackError> {
        let proxy = match proxy_for(url, vars) {
            Some(proxy) => Some(ureq::Proxy::new(proxy).map_err(|e| {
                TrackError::Server(format!(
                    "`{proxy}` is no proxy: {e}; expected http://host:port in the variable"
                ))
            })?),
            None => None,
        };
        let agent = Agent::config_builder()
            .proxy(proxy)
            .http_status_as_error(false)
            // What was moved elsewhere is for the user to know, and credentials stay here.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_global(Some(WHOLE))
            .user_agent(concat!("archai/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Rest {
            agent,
            url: url.to_string(),
            authorization: authorization(vars),
        })
    }

    /// Asks with the parameters of a query.
    pub fn get(&self, call: &str, query: &[(&str, &str)]) -> Result<Value, RestError> {
        let mut request = self.agent.get(self.address(call));
        for (name, value) in query {
            request = request.query(name, value);
        }
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        self.answer(request.call())
    }

    /// Asks with a JSON body.
    pub fn post(&self, call: &str, body: &Value) -> Result<Value, RestError> {
        let mut request = self.agent.post(self.address(call));
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.answer(request.send(body.to_string()))
    }

    /// Sends a file to a place below the server's artefacts.
    pub fn put_artefact(&self, place: &str, file: &Path) -> Result<(), RestError> {
        let failed = |e| RestError::File(FileError::new("read", file, e));
        let content = File::open(file).map_err(failed)?;
        let length = content.metadata().map_err(failed)?.len();
        let parts = place
            .split('/')
            .map(|part| utf8_percent_encode(part, PLAIN).to_string());
        let parts: Vec<String> = parts.collect();
        let address = format!(
            "{}/api/2.0/mlflow-artifacts/artifacts/{}",
            self.url,
            parts.join("/")
        );
        let request = self.agent.put(address).config();
        let request = request
            .timeout_global(Some(UPLOAD))
            .timeout_recv_response(Some(UPLOAD));
        let mut request = request.build();
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, length);
        self.answer(request.send(SendBody::from_owned_reader(content)))
            .map(drop)
    }

    fn address(&self, call: &str) -> String {
        format!("{}/api/2.0/mlflow/{call}", self.url)
    }

    /// What an answer means.
    fn answer(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, RestError> {
        let url = &self.url;
        let down = |why: String| Err(RestError::Down(why));
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return down(format!("{url} does not answer: {error}")),
        };
        let status = answer.status();
        if status.is_redirection() {
            let to = answer.headers().get(header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
            return down(format!(
                "{url} sends on to {to}; give the address of the MLflow server itself"
            ));
        }
        let body = answer
            .body_mut()
            .with_config()
            .limit(ANSWER)
            .read_to_string();
        let body = match body {
            Ok(body) => body,
            Err(error) => return down(format!("{url} breaks off its answer: {error}")),
        };
        let json: Option<Value> = serde_json::from_str(&body).ok().filter(Value::is_object);
        let text = |name: &str| Some(json.as_ref()?.get(name)?.as_str()?.to_string());
        match (status, &json) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => down(format!(
                "{url} does not let us in (status {}); give a token in the variable MLFLOW_TRACKING_TOKEN, or a name and a \
                 password in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
                status.as_u16()
            )),
            (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS, _) => {
                down(format!("{url} is busy (status {})", status.as_u16()))
            }
            (status, _) if status.is_server_error() => down(format!(
                "{url} has a problem (status {}): {}",
                status.as_u16(),
                text("message")
                    .as_deref()
                    .map_or_else(|| shown(&body), shown)
            )),
            (status, Some(_)) if status.is_client_error() => match text("error_code") {
                Some(code) => Err(RestError::Refused {
                    code,
                    message: shown(&text("message").unwrap_or_default()),
                }),
                None => down(no_server(url, status, &body)),
            },
            (status, Some(_)) if status.is_success() => Ok(json.unwrap_or_default()),
            // Files are taken with an empty answer, in some versions.
            (status, None) if status.is_success() && body.trim().is_empty() => Ok(Value::Null),
            (status, _) => down(no_server(url, status, &body)),
        }
    }
}

fn no_server(url: &str, status: StatusCode, body: &str) -> String {
    format!(
        "{url} answers (status {}) as no MLflow server does: {}; check the address, which is the one that the server's pages have",
        status.as_u16(),
        shown(body)
    )
}

/// The beginning of a text, in one line.
fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

/// The header that lets us in; a token counts before a name.
fn authorization(vars: &BTreeMap<String, String>) -> Option<String> {
    let var = |name: &str| vars.get(name).filter(|value| !value.is_empty());
    if let Some(token) = var("MLFLOW_TRACKING_TOKEN") {
        return Some(format!("Bearer {}", token.trim()));
    }
    let name = var("MLFLOW_TRACKING_USERNAME")?;
    let none = String::new();
    let password = var("MLFLOW_TRACKING_PASSWORD").unwrap_or(&none);
    let both = BASE64_STANDARD.encode(format!("{name}:{password}"));
    Some(format!("Basic {both}"))
}

/// The proxy for an address, if there is one: none for this machine and for the hosts of `no_proxy`.
fn proxy_for<'a>(url: &str, vars: &'a BTreeMap<String, String>) -> Option<&'a String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let var = |name: &str| {
        let both = [name.to_string(), name.to_uppercase()];
        let mut found = both.into_iter().filter_map(|name| vars.get(&name));
        found.find(|value| !value.is_empty())
    };
    let is_here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    let without = var("no_proxy").map_or("", String::as_str);
    let is_excepted = without.split(',').map(str::trim).any(|name| {
        let name = name.trim_start_matches('.');
        name == "*" || (!name.is_empty() && (host == name || host.ends_with(&format!(".{name}"))))
    });
    match is_here || is_excepted {
        true => None,
        false => var(&format!("{scheme}_proxy")).or_else(|| var("all_proxy")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = all
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        all.collect()
    }

    #[test]
    fn who_asks_is_said_by_variables() {
        let of = |all: &[(&str, &str)]| authorization(&vars(all));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("MLFLOW_TRACKING_TOKEN", "")]), None);
        let name = ("MLFLOW_TRACKING_USERNAME", "Aladdin");
        let password = ("MLFLOW_TRACKING_PASSWORD", "open sesame");
        // The example of RFC 7617.
        let basic = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(of(&[name, password]).as_deref(), Some(basic));
        let token = ("MLFLOW_TRACKING_TOKEN", "t");
        assert_eq!(of(&[name, password, token]).as_deref(), Some("Bearer t"));
    }

    #[test]
    fn proxies_are_for_others() {
        let all = vars(&[
            ("http_proxy", "http://a:1"),
            ("ALL_PROXY", "http://b:2"),
            ("no_proxy", "inner.net, .other"),
        ]);
        for (url, expect) in [
            ("http://mlflow.org", Some("http://a:1")),
            ("https://mlflow.org/x", Some("http://b:2")),
            ("http://127.0.0.1:5000", None),
            ("http://localhost:5000", None),
            ("http://[::1]:5000", None),
            ("http://x.inner.net", None),
            ("http://other:80/a", None),
            ("http://another", Some("http://a:1")),
        ] {
            assert_eq!(proxy_for(url, &all).map(String::as_str), expect, "{url}");
        }
    }
}
