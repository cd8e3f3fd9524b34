//! The pages that tell what happened and what to do next.

use axum::http::StatusCode;
use entrar_core::error::{Error, Kind};
use entrar_core::time::UnixTime;

use super::{Person, Site, advice, paths};

/// What happened.
#[derive(Clone, Debug)]
pub enum Message {
    /// This browser has left the pages; nothing else has changed.
    SignedOut,
    /// All sessions are ended and the refresh token is deleted.
    SignedOutEverywhere {
        /// When that holds on every hub that shares the database; `None` if it does already.
        holds_at: Option<UnixTime>,
    },
    /// The person said no to the question of a first sign-in.
    Declined,
    /// The sign-in has failed.
    Failed(Error),
    /// A sign-in that was answered before, or took too long.
    SignInOver,
    /// An answer to a sign-in that was begun in another browser.
    OtherBrowser,
    /// The account belongs to no local user here.
    NotMapped {
        /// Who has signed in.
        person: Person,
        /// The claim `upn`, by which users are mapped; `None` if there was none.
        upn: Option<String>,
    },
    /// The account is a guest of its tenant.
    Guest {
        /// Who has signed in.
        person: Person,
    },
    /// The account's local user may not use the hub.
    UserRefused {
        /// Who has signed in.
        person: Person,
        /// The local user's name.
        user: String,
        /// Why, in whole sentences.
        why: String,
    },
    /// The user or the account is bound otherwise.
    Conflict {
        /// Who has signed in.
        person: Person,
        /// The local user's name.
        user: String,
    },
    /// A pairing that has come to nothing.
    PairingOver(PairingEnd),
    /// A form of an earlier sign-in, or of another page.
    StaleForm,
    /// Nothing is at this address.
    NotFound,
    /// Not by this method.
    NotAllowed {
        /// The methods that there are, for the header `Allow`.
        allow: &'static str,
    },
    /// A request by another host's name.
    Misdirected,
    /// Too many sign-ins begin at once.
    Throttled {
        /// Seconds to wait.
        retry_after: Option<f64>,
    },
    /// The hub cannot do its work at the moment.
    Unavailable,
    /// Something is wrong with what the hub has kept.
    Fault,
}

/// Why a pairing has come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairingEnd {
    /// The person did not begin it.
    NotMe,
    /// It was answered before, or is not there any more.
    Gone,
}

/// How a page looks at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    /// Nothing has come of it, and nothing has changed.
    Note,
}

/// Something that an administrator will ask for.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) text: String,
    /// Whether it is not prose.
    pub(super) is_code: bool,
}

impl Fact {
    fn new(label: &'static str, text: impl Into<String>) -> Self {
        Self {
            label,
            text: text.into(),
            is_code: false,
        }
    }

    fn code(label: &'static str, text: impl Into<String>) -> Self {
        Self {
            is_code: true,
            ..Self::new(label, text)
        }
    }
}

/// A message as it is written.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) status: StatusCode,
    pub(super) tone: Tone,
    pub(super) heading: &'static str,
    pub(super) paragraphs: Vec<String>,
    /// What an administrator will ask for.
    pub(super) facts: Vec<Fact>,
    /// What Entra ID said.
    pub(super) said: Option<String>,
    /// Whether it is told what Entra ID goes on to know.
    pub(super) tells_of_entra: bool,
    /// What the link says that leads on.
    pub(super) next: String,
    /// Where to, if not to this hub's start.
    pub(super) address: Option<String>,
}

impl Words {
    fn new(status: StatusCode, tone: Tone, heading: &'static str, paragraphs: &[&str]) -> Self {
        Self {
            status,
            tone,
            heading,
            paragraphs: paragraphs.iter().map(|text| (*text).to_owned()).collect(),
            facts: Vec::new(),
            said: None,
            tells_of_entra: false,
            next: "Back to the start".to_owned(),
            address: None,
        }
    }

    fn with_facts(self, facts: Vec<Fact>) -> Self {
        Self { facts, ..self }
    }
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Note => "note",
        }
    }

    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Good => "\u{2713}",
            Self::Bad => "!",
            Self::Note => "i",
        }
    }
}

/// What an administrator needs to find the account.
fn facts(person: &Person) -> Vec<Fact> {
    let named = [("Name", &person.name), ("User name", &person.username)];
    let mut facts: Vec<_> = named
        .into_iter()
        .filter_map(|(label, text)| Some(Fact::new(label, text.clone()?)))
        .collect();
    facts.push(Fact::code("Object id", person.account.oid.to_string()));
    facts.push(Fact::code("Tenant id", person.account.tid.to_string()));
    facts
}

/// The same with the local user.
fn facts_with_user(person: &Person, user: &str) -> Vec<Fact> {
    let mut facts = facts(person);
    facts.insert(0, Fact::code("Local user", user));
    facts
}

impl Message {
    /// Whole seconds to wait.
    pub(super) fn retry_after(&self) -> Option<u64> {
        let seconds = match self {
            Self::Throttled { retry_after } => (*retry_after)?,
            Self::Failed(error) => error.details().retry_after?,
            _ => return None,
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast saturates"
        )]
        let seconds = (seconds.ceil() as u64).clamp(1, 86_400);
        Some(seconds)
    }

    pub(super) fn words(&self, site: &Site) -> Words {
        match self {
            Self::SignedOut => Words::new(
                StatusCode::OK,
                Tone::Good,
                "This browser is signed out",
                &[
                    "Nobody can open your account page with this browser until you sign in again.",
                    "Your sessions on the server go on as before. To end them, sign in and choose “Sign out everywhere”.",
                ],
            ),
            Self::SignedOutEverywhere { holds_at } => {
                let mut words = Words {
                    tells_of_entra: true,
                    ..Words::new(
                        StatusCode::OK,
                        Tone::Good,
                        "You are signed out everywhere",
                        &[
                            "All your sessions were ended, and your refresh token was deleted from this server. No process here gets a new token as you until you sign in again.",
                        ],
                    )
                };
                words.paragraphs.extend(holds_at.map(|at| {
                    let at = at.to_iso().replace('T', " ").replace('Z', " UTC");
                    format!("Other servers of this hub hold to it by {at} at the latest, even if they cannot reach its database now.")
                }));
                words
            }
            Self::Declined => Words::new(
                StatusCode::OK,
                Tone::Note,
                "Nothing was kept",
                &[
                    "You said no. The sign-in was thrown away, and no process on this server gets tokens as you.",
                    "Was it the wrong account? Begin again with “Use another account”.",
                ],
            ),
            Self::Failed(error) => failed(error, site),
            Self::SignInOver => Words::new(
                StatusCode::GONE,
                Tone::Note,
                "This sign-in is over",
                &[
                    "It was answered before, or took too long. An answer counts once.",
                    "If you have just signed in, your account page is at the start. Otherwise begin again there.",
                ],
            ),
            Self::OtherBrowser => Words::new(
                StatusCode::FORBIDDEN,
                Tone::Bad,
                "This sign-in was not begun in this browser",
                &[
                    "What your browser brought is the answer to a sign-in that was begun elsewhere. Nothing was kept, and nothing has changed.",
                    "If somebody sent you a link, do not follow it, and tell the administrator. Otherwise begin again from the start page, in one browser.",
                ],
            ),
            Self::NotMapped { person, upn } => {
                let mut seen = facts(person);
                seen.push(match upn {
                    Some(upn) => Fact::code("Claim upn", upn.as_str()),
                    None => Fact::new(
                        "Claim upn",
                        "none; the app registration has to ask for this optional claim",
                    ),
                });
                Words::new(
                    StatusCode::FORBIDDEN,
                    Tone::Bad,
                    "Your account has no local user here",
                    &[
                        "You have signed in, but this server does not know which of its users you are. Nothing was kept.",
                        "Ask the administrator of this server to add you, and pass on what is below. Was it the wrong account? Begin again with “Use another account”.",
                    ],
                )
                .with_facts(seen)
            }
            Self::Guest { person } => Words::new(
                StatusCode::FORBIDDEN,
                Tone::Bad,
                "Guest accounts are not mapped by themselves",
                &[
                    "You have signed in with a guest account of this tenant. Such an account is admitted only where the administrator of this server has listed it by its object id. Nothing was kept.",
                    "Ask the administrator to list you, and pass on what is below; or begin again with “Use another account”.",
                ],
            )
            .with_facts(facts(person)),
            Self::UserRefused { person, user, why } => {
                let mut words = Words::new(
                    StatusCode::FORBIDDEN,
                    Tone::Bad,
                    "Your local user cannot be used here",
                    &["Nothing was kept. Ask the administrator of this server, and pass on what is below."],
                );
                words.paragraphs.insert(0, why.clone());
                words.with_facts(facts_with_user(person, user))
            }
            Self::Conflict { person, user } => {
                Words::new(
                    StatusCode::CONFLICT,
                    Tone::Bad,
                    "This account and this user are bound otherwise",
                    &[
                        "A local user of this server belongs to one account, and an account to one local user. At an earlier sign-in one of these two was bound to another partner; a name may have changed hands since.",
                        "Everything is refused for both until the administrator of this server has looked at it and has undone the earlier binding. Nothing was kept of this sign-in.",
                    ],
                )
                .with_facts(facts_with_user(person, user))
            }
            Self::PairingOver(end) => pairing_over(*end),
            Self::StaleForm => Words::new(
                StatusCode::FORBIDDEN,
                Tone::Note,
                "This page was out of date",
                &[
                    "Nothing was done. The page was open for too long, was opened before your last sign-in, or the request came from another site.",
                    "Go back to the start and do it again there.",
                ],
            ),
            Self::NotFound => Words::new(
                StatusCode::NOT_FOUND,
                Tone::Note,
                "Nothing is at this address",
                &["Everything that this hub has to show can be reached from the start."],
            ),
            Self::NotAllowed { .. } => Words::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Tone::Note,
                "This address is not used like that",
                &["Nothing was done. Go back to the start and use the links and buttons there."],
            ),
            Self::Misdirected => Words {
                next: format!("Go to {}", site.host),
                address: Some(site.address_of(paths::HOME)),
                ..Words::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    Tone::Note,
                    "This hub goes by another name",
                    &[
                        "Your browser asked for a host that this hub does not answer for. Nothing was done.",
                    ],
                )
            },
            Self::Throttled { .. } => {
                let wait = match self.retry_after() {
                    None => "Wait a minute, then try again.".to_owned(),
                    Some(1) => "Wait a second, then try again.".to_owned(),
                    Some(seconds @ 2..=120) => {
                        format!("Wait {seconds} seconds, then try again.")
                    }
                    Some(seconds) => {
                        format!("Wait {} minutes, then try again.", seconds.div_ceil(60))
                    }
                };
                let mut words = Words::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    Tone::Note,
                    "Too many people sign in at once",
                    &["The hub limits how many sign-ins may begin at once. Nothing was done."],
                );
                words.paragraphs.push(wait);
                words
            }
            Self::Unavailable => Words::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Tone::Bad,
                "The hub cannot answer at the moment",
                &[
                    "It cannot reach its own records. Nothing was changed, and your sessions are not ended by this.",
                    "Try again in a minute. If it stays, tell the administrator of this server, whose log says more.",
                ],
            ),
            Self::Fault => Words::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Tone::Bad,
                "Something is wrong with the hub",
                &[
                    "It found something in its own records that it does not trust, and has stopped there. Nothing was changed.",
                    "Trying again does not help. Tell the administrator of this server, whose log says more.",
                ],
            ),
        }
    }
}

fn failed(error: &Error, site: &Site) -> Words {
    let status = match error.kind() {
        Kind::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable | Kind::Unreachable | Kind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Misconfigured | Kind::ServerError | Kind::BadReply => StatusCode::BAD_GATEWAY,
        _ => StatusCode::FORBIDDEN,
    };
    let details = error.details();
    let mut words = Words::new(status, Tone::Bad, "You are not signed in", &[]);
    words.paragraphs = vec![
        format!("What happened: {}. Nothing was kept.", error.message()),
        advice::for_a_sign_in(error).to_owned(),
    ];
    // The one setting that nobody can guess.
    if details.aadsts.contains(&50_011) {
        let redirect = Fact::code(
            "Redirect URI to register under “Web”",
            site.address_of(paths::CALLBACK),
        );
        words.facts.push(redirect);
    }
    let kind = Fact::code("Kind of error", error.kind().as_str());
    words.facts.push(kind);
    if let Some(id) = &details.correlation_id {
        words.facts.push(Fact::code("Correlation id", id.as_str()));
    }
    words.said.clone_from(&details.server_text);
    words
}

fn pairing_over(end: PairingEnd) -> Words {
    let (tone, heading, what) = match end {
        PairingEnd::NotMe => (
            Tone::Good,
            "The pairing was stopped",
            "The code is no longer good, and the sign-in was thrown away. Nobody got a token as you. If somebody asked you to sign in here or to tell them a code, tell the administrator of this server.",
        ),
        PairingEnd::Gone => (
            Tone::Note,
            "This pairing is over",
            "It was answered before, took too long, or a wrong code was typed three times. A code counts once.",
        ),
    };
    let mut words = Words::new(StatusCode::GONE, tone, heading, &[what]);
    if end == PairingEnd::NotMe {
        words.status = StatusCode::OK;
    } else {
        let again = "To begin again, call azure_sign_in() in the R session that is to have tokens.";
        words.paragraphs.push(again.to_owned());
    }
    words
}
