//! A browser with one window: it keeps the hub's cookies, and follows redirects and forms as a person would.

use reqwest::header::{COOKIE, HeaderMap, LOCATION, REFRESH, SET_COOKIE};
use reqwest::{Method, StatusCode};
use url::Url;
use url::form_urlencoded::Serializer;

pub(crate) struct Browser {
    http: reqwest::Client,
    hub: Url,
    cookies: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// A client that follows no redirect, and trusts this certificate alone.
pub(crate) fn client(certificate: Option<&str>) -> reqwest::Client {
    // Whichever test comes first installs it.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let trusted = certificate.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only(trusted)
        .build()
        .unwrap()
}

impl Browser {
    pub(crate) fn new(hub: &Url) -> Self {
        Self {
            http: client(None),
            hub: hub.clone(),
            cookies: Vec::new(),
        }
    }

    /// The value of one of the hub's cookies.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let found = self.cookies.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// One request, without following anything.
    pub(crate) async fn ask(&mut self, method: Method, url: &Url, form: Option<String>) -> Page {
        self.ask_with(method, url, form, &[]).await
    }

    /// The same with these headers, in the place of what a browser would say.
    pub(crate) async fn ask_with(
        &mut self,
        method: Method,
        url: &Url,
        form: Option<String>,
        headers: &[(&'static str, &str)],
    ) -> Page {
        let is_hub = url.origin() == self.hub.origin();
        let is_post = method == Method::POST;
        let mut request = self.http.request(method, url.clone());
        if let Some(form) = form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
        }
        if is_hub && !self.cookies.is_empty() {
            let cookies: Vec<_> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        if is_hub && is_post {
            let own = self.hub.origin().ascii_serialization();
            for (name, value) in [("origin", own.as_str()), ("sec-fetch-site", "same-origin")] {
                if !headers.iter().any(|(given, _)| *given == name) {
                    request = request.header(name, value);
                }
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.send().await.unwrap();
        let (status, headers) = (reply.status(), reply.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            self.keep(cookie.to_str().unwrap());
        }
        Page {
            status,
            url: url.clone(),
            headers,
            text: reply.text().await.unwrap(),
        }
    }

    fn keep(&mut self, cookie: &str) {
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert!(
            attributes.starts_with("Path=/; Secure; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        let (name, value) = pair.split_once('=').unwrap();
        assert!(name.starts_with("__Host-"), "{cookie}");
        self.cookies.retain(|(known, _)| known != name);
        if !attributes.ends_with("Max-Age=0") {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(crate) async fn get(&mut self, url: &Url) -> Page {
        self.ask(Method::GET, url, None).await
    }

    /// Opens an address and goes where it leads.
    pub(crate) async fn open(&mut self, url: &Url) -> Page {
        let page = self.get(url).await;
        self.follow(page).await
    }

    pub(crate) async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..10 {
            let Some(next) = page.next() else {
                return page;
            };
            page = self.get(&next).await;
        }
        panic!("the browser is sent round in circles");
    }

    /// Presses a button of the hub's page: its form goes to `path`, with these fields beside the hidden one.
    pub(crate) async fn press(&mut self, page: &Page, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = Serializer::new(String::new())
            .append_pair("csrf", page.hidden("csrf"))
            .extend_pairs(fields)
            .finish();
        let url = self.hub.join(path).unwrap();
        let page = self.ask(Method::POST, &url, Some(form)).await;
        self.follow(page).await
    }

    /// Signs in on the tenant's page.
    pub(crate) async fn at_tenant(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let page = self.submit(page, fields).await;
        self.follow(page).await
    }

    /// The same, as far as the tenant's answer.
    pub(crate) async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let form = Serializer::new(String::new())
            .append_pair("request", page.hidden("request"))
            .extend_pairs(fields)
            .finish();
        let url = page.url.clone();
        self.ask(Method::POST, &url, Some(form)).await
    }

    /// The same from the account page of somebody who has to.
    pub(crate) async fn sign_in_again(&mut self, user: &str) -> Page {
        let account = self.open(&self.hub.clone()).await;
        let tenant = self.press(&account, "/sign-in", &[]).await;
        self.at_tenant(&tenant, &[("answer", "sign_in"), ("user", user)])
            .await
    }

    /// The hub's page, the tenant's, and back.
    pub(crate) async fn sign_in(&mut self, user: &str) -> Page {
        let start = self.open(&self.hub.clone()).await;
        let tenant = self.press(&start, "/sign-in", &[]).await;
        self.at_tenant(&tenant, &[("answer", "sign_in"), ("user", user)])
            .await
    }
}

impl Page {
    /// Where the browser goes from here by itself.
    fn next(&self) -> Option<Url> {
        if let Some(refresh) = self.headers.get(REFRESH) {
            let (_, url) = refresh.to_str().unwrap().split_once("url=").unwrap();
            return Some(Url::parse(url).unwrap());
        }
        let location = self
            .status
            .is_redirection()
            .then(|| &self.headers[LOCATION])?;
        Some(self.url.join(location.to_str().unwrap()).unwrap())
    }

    /// The value of a hidden field.
    pub(crate) fn hidden(&self, name: &str) -> &str {
        let begin = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .text
            .split_once(&begin)
            .unwrap_or_else(|| panic!("{}", self.text));
        rest.split_once('"').unwrap().0
    }

    pub(crate) fn heading(&self) -> &str {
        let (_, rest) = self
            .text
            .split_once("<h1>")
            .unwrap_or_else(|| panic!("{}", self.text));
        rest.split_once("</h1>").unwrap().0
    }
}
