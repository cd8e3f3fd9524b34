//! The pages that a person sees. They are plain forms, which need no script, and load nothing from elsewhere. Whatever
//! comes from a request or a registration is escaped.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use url::Url;

use crate::authorize::Request;
use crate::choices::CHOICES;
use crate::devices::DeviceRequest;
use crate::errors::Description;
use crate::escape::escape;
use crate::scope::Scope;
use crate::tenant::Tenant;
use crate::user::{Membership, User};

/// Where the pages' style is served.
pub(crate) const STYLE_PATH: &str = "/emulator/style.css";
/// Where the one script is served, which saves a click where there are scripts.
pub(crate) const SCRIPT_PATH: &str = "/emulator/post.js";

/// `GET` [`STYLE_PATH`].
pub(crate) async fn style() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("style.css"),
    )
}

/// `GET` [`SCRIPT_PATH`].
pub(crate) async fn script() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("post.js"),
    )
}

/// Where a person chooses who signs in to an app.
pub(crate) fn sign_in(tenant: &Tenant, path: &str, request: &Request, name: &str) -> Response {
    let app = tenant.app(&request.client_id);
    let app_name = app.map_or("", |app| &app.name);
    let hinted = request.login_hint.as_deref();
    // Who wants an account to be selected wants it to be done by hand.
    let preselected = match request.prompt {
        Some(crate::authorize::Prompt::SelectAccount) => None,
        _ => tenant.default_user(hinted),
    };
    let target = &request.target.url;
    let details = [
        ("Client id", Some(&*request.client_id)),
        ("Redirect", Some(target.as_str())),
        ("Prompt", request.prompt.map(|prompt| prompt.as_str())),
        ("Login hint", hinted),
        ("Domain hint", request.domain_hint.as_deref()),
        ("Claims", request.claims.as_deref()),
    ];
    let body = choice(
        tenant,
        (path, "request", name),
        (app_name, &request.scope, &request.client_id),
        preselected.as_ref(),
        &details,
    );
    page(StatusCode::OK, "Sign in", &body, Some(target))
}

/// The same for a device code that somebody typed.
pub(crate) fn device_sign_in(tenant: &Tenant, request: &DeviceRequest, typed: &str) -> Response {
    let app = tenant.app(&request.client_id);
    let app_name = app.map_or("", |app| &app.name);
    let body = choice(
        tenant,
        ("/device", "user_code", typed),
        (app_name, &request.scope, &request.client_id),
        tenant.default_user(None).as_ref(),
        &[("Client id", Some(&request.client_id))],
    );
    page(StatusCode::OK, "Sign in on a device", &body, None)
}

/// The form with which somebody signs in, declines, or lets the sign-in fail.
fn choice(
    tenant: &Tenant,
    (path, hidden, value): (&str, &str, &str),
    (app_name, scope, client_id): (&str, &Scope, &str),
    preselected: Option<&User>,
    details: &[(&str, Option<&str>)],
) -> String {
    let users = tenant.users();
    let users = users.iter().map(|user| {
        let is_preselected = preselected.is_some_and(|one| one.object_id == user.object_id);
        choice_of_user(user, is_preselected)
    });
    let errors = CHOICES.iter().map(|(code, _, message)| {
        format!(
            "<option value=\"{code}\">AADSTS{code}: {}</option>",
            escape(message)
        )
    });
    let details = details.iter().filter_map(|(name, value)| {
        let value = escape((*value)?);
        Some(format!("<dt>{name}</dt><dd>{value}</dd>"))
    });
    format!(
        "<h1>Sign in to {app}</h1>\
         <p>{app} asks for <strong>{permission}</strong> at <strong>{resource}</strong>, in your name{offline}.</p>\
         <form method=\"post\" action=\"{path}\">\
         <input type=\"hidden\" name=\"{hidden}\" value=\"{value}\">\
         <fieldset><legend>Who signs in?</legend>{users}</fieldset>\
         <div class=\"buttons\"><button class=\"main\" name=\"answer\" value=\"sign_in\">Sign in and accept</button>\
         <button name=\"answer\" value=\"deny\" formnovalidate>Decline</button></div>\
         <details><summary>Let the sign-in fail</summary>\
         <p><label class=\"label\" for=\"error\">With this error</label>\
         <select id=\"error\" name=\"error\">{errors}</select></p>\
         <div class=\"buttons\"><button name=\"answer\" value=\"fail\" formnovalidate>Fail</button></div></details>\
         </form>\
         <details><summary>What the app asked</summary><dl>{details}</dl></details>",
        app = escape(app_name),
        permission = escape(scope.permission(client_id).unwrap_or_default()),
        resource = escape(&scope.resource),
        offline = if scope.offline_access {
            ", also while you are away"
        } else {
            ""
        },
        path = escape(path),
        value = escape(value),
        users = users.collect::<String>(),
        errors = errors.collect::<String>(),
        details = details.collect::<String>(),
    )
}

fn choice_of_user(user: &User, is_preselected: bool) -> String {
    let belongs = match &user.membership {
        Membership::Member => "",
        Membership::Guest => " (guest)",
        Membership::Other(_) => " (of another tenant)",
    };
    format!(
        "<label class=\"choice\"><input type=\"radio\" name=\"user\" value=\"{id}\" required{checked}>\
         <span>{name}{belongs}<small>{mail}</small></span></label>",
        id = escape(&user.object_id),
        checked = if is_preselected { " checked" } else { "" },
        name = escape(&user.display_name()),
        mail = escape(&user.user_principal_name),
    )
}

/// Where a person types the code that their device shows; with what was wrong with the one before.
pub(crate) fn device(status: StatusCode, wrong: Option<&str>) -> Response {
    let wrong =
        wrong.map(|text| format!("<p role=\"alert\"><strong>{}</strong></p>", escape(text)));
    let body = format!(
        "<h1>Enter the code</h1>{wrong}\
         <p>Type the code that the app or device shows.</p>\
         <form method=\"post\" action=\"/device\"><p><label class=\"label\" for=\"user_code\">Code</label>\
         <input class=\"code\" type=\"text\" id=\"user_code\" name=\"user_code\" required autofocus autocomplete=\"off\" \
         autocapitalize=\"characters\" spellcheck=\"false\" maxlength=\"20\"></p>\
         <div class=\"buttons\"><button class=\"main\">Next</button></div></form>",
        wrong = wrong.unwrap_or_default(),
    );
    page(status, "Enter the code", &body, None)
}

/// What a person sees whose device now goes on.
pub(crate) fn device_done(what: &str) -> Response {
    let body = format!(
        "<h1>{}</h1><p>Go back to the app or device that showed the code. You may close this page.</p>",
        escape(what)
    );
    page(StatusCode::OK, what, &body, None)
}

/// An answer that comes too late or twice.
pub(crate) fn over() -> Response {
    let body = "<h1>This sign-in is over</h1>\
                <p>It was answered already, or nobody answered within ten minutes. Go back to the app and begin again.</p>";
    page(StatusCode::BAD_REQUEST, "This sign-in is over", body, None)
}

/// A refusal that no app may be told.
pub(crate) fn refusal(
    status: StatusCode,
    description: &Description,
    correlation_id: &str,
) -> Response {
    let body = format!(
        "<h1>Sorry, but you cannot be signed in</h1><p role=\"alert\">{}</p>\
         <dl><dt>Correlation ID</dt><dd>{}</dd><dt>Trace ID</dt><dd>{}</dd><dt>Timestamp</dt><dd>{}</dd></dl>",
        escape(&description.headline),
        escape(correlation_id),
        escape(&description.trace_id),
        escape(&description.timestamp),
    );
    page(status, "Sign-in error", &body, None)
}

/// An answer to the app as a form, which sends itself where there are scripts.
pub(crate) fn form_post(target: &Url, parameters: &[(&str, &str)]) -> Response {
    let fields = parameters.iter().map(|(name, value)| {
        format!(
            "<input type=\"hidden\" name=\"{}\" value=\"{}\">",
            escape(name),
            escape(value)
        )
    });
    let body = format!(
        "<h1>Back to the app</h1><form method=\"post\" action=\"{action}\">{fields}\
         <div class=\"buttons\"><button class=\"main\">Continue</button></div></form>\
         <script src=\"{SCRIPT_PATH}\"></script>",
        action = escape(target.as_str()),
        fields = fields.collect::<String>(),
    );
    page(StatusCode::OK, "Back to the app", &body, Some(target))
}

/// A whole page. Its forms go to the emulator, and on to `target` where the answer does: browsers hold a redirect that
/// answers a form to the same rule.
fn page(status: StatusCode, title: &str, body: &str, target: Option<&Url>) -> Response {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} - Entra emulator</title><link rel=\"stylesheet\" href=\"{STYLE_PATH}\"></head>\
         <body><main><p class=\"badge\">Emulated tenant: nothing here is real, and no password is asked for</p>{body}</main>\
         </body></html>\n",
        title = escape(title),
    );
    let target = target.map(|url| format!(" {}", url.origin().ascii_serialization()));
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'{}; frame-ancestors 'none'; \
         base-uri 'none'",
        target.unwrap_or_default(),
    );
    let mut reply = (status, Html(text)).into_response();
    let headers = reply.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // An origin is made of letters that a header takes.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    reply
}
