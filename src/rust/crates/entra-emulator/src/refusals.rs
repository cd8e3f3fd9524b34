//! Why the tenant refuses: one variant for each reason, with its AADSTS code, OAuth's `error`, and what the message names.

use crate::choices;
use crate::faults::FaultKind;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    UnknownTenant(String),
    MalformedRequest,
    MissingParameter(&'static str),
    UnsupportedGrantType,
    UnknownClient(String),
    InvalidScope(String),
    SeveralResources(String),
    UnknownResource(String),
    ItselfAsResource(String),
    MissingConsent(String),
    BlockedByPolicy,
    MfaRequired,
    Transient,
    Internal,

    // Who the app is.
    MissingCredential,
    MissingCredentialOfItsOwn,
    WrongClientSecret,
    CredentialFromPublicClient,
    MalformedAssertion(&'static str),
    UnknownAssertionKey,
    WrongAssertionSignature,
    AssertionOutOfTime,
    AssertionForAnother(String),
    AssertionOfAnother,
    UnknownWorkload(String),

    // The authorization endpoint.
    UnregisteredRedirect(String),
    UnsupportedResponseType(String),
    UnsupportedValue(&'static str, String),
    InvalidChallenge,
    LoginRequired,
    Declined,
    UserOfAnotherTenant(String),
    UnknownUser(String),
    /// What whoever answers the page chose.
    Chosen(u32),

    // Authorization codes.
    MalformedCode,
    UsedCode,
    ExpiredCode,
    OtherRedirect,
    MissingVerifier,
    WrongVerifier,
    ScopeNotGranted,
    OtherClientsGrant,

    // Device codes.
    AuthorizationPending,
    SlowDown,
    DeclinedDevice,
    UnknownDeviceCode,
    ExpiredDeviceCode,

    // Refresh tokens.
    MalformedRefreshToken,
    RevokedRefreshToken,
    ExpiredRefreshToken,
}

impl Refusal {
    /// What a fault answers where tokens are granted. `None` is for faults that refuse nothing.
    pub(crate) fn of_fault(fault: FaultKind, client_id: &str) -> Option<Self> {
        match fault {
            FaultKind::SignInRequired => Some(Self::ExpiredRefreshToken),
            FaultKind::ConsentRequired => Some(Self::MissingConsent(client_id.to_owned())),
            FaultKind::AccessDenied => Some(Self::BlockedByPolicy),
            FaultKind::MfaRequired => Some(Self::MfaRequired),
            FaultKind::Unavailable => Some(Self::Transient),
            FaultKind::Throttled
            | FaultKind::Slow
            | FaultKind::WrongState
            | FaultKind::WrongNonce
            | FaultKind::WrongAudience
            | FaultKind::WrongIssuer
            | FaultKind::ExpiredIdToken
            | FaultKind::OtherUser
            | FaultKind::NoIdToken => None,
        }
    }

    /// The AADSTS code and OAuth's `error`.
    pub(crate) fn code(&self) -> (u32, &'static str) {
        match self {
            Self::UnknownTenant(_) => (90002, "invalid_request"),
            Self::MalformedRequest => (9002313, "invalid_request"),
            Self::MissingParameter(_) => (900144, "invalid_request"),
            Self::UnsupportedGrantType => (70003, "unsupported_grant_type"),
            Self::UnknownClient(_) => (700016, "unauthorized_client"),
            Self::InvalidScope(_) => (70011, "invalid_scope"),
            Self::SeveralResources(_) => (28000, "invalid_scope"),
            Self::UnknownResource(_) => (500011, "invalid_resource"),
            Self::ItselfAsResource(_) => (90009, "invalid_request"),
            Self::MissingConsent(_) => (65001, "invalid_grant"),
            Self::BlockedByPolicy => (53003, "invalid_grant"),
            Self::MfaRequired => (50076, "interaction_required"),
            Self::Transient => (90033, "temporarily_unavailable"),
            Self::Internal => (50000, "server_error"),

            Self::MissingCredential => (7000218, "invalid_client"),
            Self::MissingCredentialOfItsOwn => (7000216, "invalid_client"),
            Self::WrongClientSecret => (7000215, "invalid_client"),
            Self::CredentialFromPublicClient => (700025, "invalid_client"),
            Self::MalformedAssertion(_) => (50027, "invalid_client"),
            Self::UnknownAssertionKey | Self::WrongAssertionSignature => (700027, "invalid_client"),
            Self::AssertionOutOfTime => (700024, "invalid_client"),
            Self::AssertionForAnother(_) => (700023, "invalid_client"),
            Self::AssertionOfAnother => (700021, "invalid_client"),
            Self::UnknownWorkload(_) => (700213, "invalid_client"),

            Self::UnregisteredRedirect(_) => (50011, "invalid_request"),
            Self::UnsupportedResponseType(_) => (700054, "unsupported_response_type"),
            Self::UnsupportedValue(..) => (90023, "invalid_request"),
            Self::InvalidChallenge => (501491, "invalid_request"),
            Self::LoginRequired => (50058, "login_required"),
            Self::Declined => (65004, "access_denied"),
            Self::UserOfAnotherTenant(_) => (50020, "access_denied"),
            Self::UnknownUser(_) => (50034, "access_denied"),
            Self::Chosen(code) => (
                *code,
                choices::find(*code).map_or("server_error", |(error, _)| error),
            ),

            Self::MalformedCode | Self::ScopeNotGranted | Self::OtherClientsGrant => {
                (70000, "invalid_grant")
            }
            Self::UsedCode => (54005, "invalid_grant"),
            Self::ExpiredCode => (70008, "invalid_grant"),
            Self::OtherRedirect => (500112, "invalid_grant"),
            Self::MissingVerifier => (50148, "invalid_grant"),
            Self::WrongVerifier => (501481, "invalid_grant"),

            // Entra is not known to send a code with `slow_down`; the authorization is pending all the same.
            Self::AuthorizationPending => (70016, "authorization_pending"),
            Self::SlowDown => (70016, "slow_down"),
            Self::DeclinedDevice => (65004, "authorization_declined"),
            Self::UnknownDeviceCode => (70018, "bad_verification_code"),
            Self::ExpiredDeviceCode => (70019, "expired_token"),

            Self::MalformedRefreshToken => (9002313, "invalid_grant"),
            Self::RevokedRefreshToken => (50173, "invalid_grant"),
            Self::ExpiredRefreshToken => (700082, "invalid_grant"),
        }
    }

    /// The first line of `error_description`, without the code.
    pub(crate) fn message(&self) -> String {
        let text = match self {
            Self::UnknownTenant(name) => {
                return format!(
                    "Tenant '{name}' not found. Check that the tenant ID and the cloud are the right ones."
                );
            }
            Self::MissingParameter(name) => {
                return format!("The request body must contain the parameter '{name}'.");
            }
            Self::UnknownClient(id) => {
                return format!(
                    "Application with identifier '{id}' was not found in the directory."
                );
            }
            Self::InvalidScope(scope) => {
                return format!("The value of 'scope' is not valid. Scope given: {scope}");
            }
            Self::SeveralResources(scope) => {
                return format!(
                    "The value of 'scope' is not valid: it names more than one resource. Scope given: {scope}"
                );
            }
            Self::UnknownResource(resource) => {
                return format!(
                    "The resource principal named {resource} was not found in the tenant."
                );
            }
            Self::ItselfAsResource(id) => {
                return format!(
                    "Application '{id}' asks for a token for itself, which only its GUID may name."
                );
            }
            Self::MissingConsent(id) => {
                return format!(
                    "Neither the user nor an administrator has consented to use the application with ID '{id}'."
                );
            }
            Self::MalformedAssertion(why) => {
                return format!("The client assertion is invalid or malformed: {why}.");
            }
            Self::AssertionForAnother(expected) => {
                return format!("The client assertion's audience is not {expected}.");
            }
            Self::UnknownWorkload(subject) => {
                return format!(
                    "No federated identity record matches the presented assertion's subject '{subject}'."
                );
            }
            Self::UnregisteredRedirect(uri) => {
                return format!(
                    "The redirect URI '{uri}' specified in the request does not match the redirect URIs configured for the application."
                );
            }
            Self::UnsupportedResponseType(value) => {
                return format!("response_type '{value}' is not enabled for the application.");
            }
            Self::UnsupportedValue(name, value) => {
                return format!("'{value}' is not a supported value of '{name}'.");
            }
            Self::UserOfAnotherTenant(name) => {
                return format!(
                    "User account '{name}' does not exist in this tenant and has to be added as a guest first."
                );
            }
            Self::UnknownUser(name) => {
                return format!("The user account '{name}' does not exist in the tenant.");
            }
            Self::Chosen(code) => choices::find(*code).map_or(
                "The emulator was told to answer with this code.",
                |(_, message)| message,
            ),
            Self::MalformedRequest | Self::MalformedRefreshToken => {
                "Invalid request. Request is malformed or invalid."
            }
            Self::UnsupportedGrantType => "The given 'grant_type' is not supported.",
            Self::BlockedByPolicy => {
                "Access has been blocked by Conditional Access policies, which allow no token to be issued."
            }
            Self::MfaRequired => "You must use multi-factor authentication to access the resource.",
            Self::Transient => "A transient error has occurred. Please try again.",
            Self::Internal => "The sign-in service has a problem of its own.",
            Self::MissingCredential => {
                "The request body must contain 'client_assertion' or 'client_secret': the client is confidential."
            }
            Self::MissingCredentialOfItsOwn => {
                "'client_assertion' or 'client_secret' is required for the 'client_credentials' grant type."
            }
            Self::WrongClientSecret => "Invalid client secret provided.",
            Self::CredentialFromPublicClient => {
                "The client is public, so neither 'client_assertion' nor 'client_secret' may be sent."
            }
            Self::UnknownAssertionKey => {
                "The client assertion's key was not found: no certificate of the application has its thumbprint."
            }
            Self::WrongAssertionSignature => "The client assertion contains an invalid signature.",
            Self::AssertionOutOfTime => "The client assertion is not within its valid time range.",
            Self::AssertionOfAnother => {
                "The client assertion's 'iss' and 'sub' do not match the parameter 'client_id'."
            }
            Self::InvalidChallenge => "Invalid size of the parameter 'code_challenge'.",
            Self::LoginRequired => "A silent sign-in request was sent but no user is signed in.",
            Self::Declined | Self::DeclinedDevice => {
                "The user declined to consent to access the app."
            }
            Self::MalformedCode => "The provided value for the parameter 'code' is not valid.",
            Self::UsedCode => {
                "The authorization code was already redeemed. Please retry with a new one."
            }
            Self::ExpiredCode => {
                "The provided authorization code has expired. Send a new interactive authorization request."
            }
            Self::OtherRedirect => {
                "The reply address does not match the one provided when requesting the authorization code."
            }
            Self::MissingVerifier => {
                "The parameter 'code_verifier' is missing, though a code_challenge was supplied."
            }
            Self::WrongVerifier => {
                "The code_verifier does not match the code_challenge supplied in the authorization request."
            }
            Self::ScopeNotGranted => {
                "The request was denied because one or more scopes requested are unauthorized or expired."
            }
            Self::OtherClientsGrant => {
                "The provided grant is invalid or malformed: it was issued to another client."
            }
            Self::AuthorizationPending => {
                "OAuth 2.0 device flow error. Authorization is pending. Continue polling."
            }
            Self::SlowDown => {
                "OAuth 2.0 device flow error. The client polls too often. Wait five seconds longer."
            }
            Self::UnknownDeviceCode => {
                "The provided value for the parameter 'device_code' is not valid."
            }
            Self::ExpiredDeviceCode => "The provided device code has expired.",
            Self::RevokedRefreshToken => {
                "The provided grant has expired because it was revoked. Sign in again."
            }
            Self::ExpiredRefreshToken => {
                "The refresh token has expired due to inactivity. Sign in again."
            }
        };
        text.to_owned()
    }
}
