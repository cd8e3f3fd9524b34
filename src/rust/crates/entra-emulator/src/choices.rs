//! Errors that a person may choose on a page.

/// Errors of Entra's that a page offers to end a sign-in with: the code, OAuth's `error`, and the message.
pub(crate) const CHOICES: [(u32, &str, &str); 14] = [
    (
        50020,
        "access_denied",
        "The user account is of another tenant and has to be added to this one as a guest first.",
    ),
    (50057, "access_denied", "The user account is disabled."),
    (
        50076,
        "interaction_required",
        "You must use multi-factor authentication to access the resource.",
    ),
    (
        50105,
        "access_denied",
        "The signed in user is not assigned to a role for the application.",
    ),
    (
        50126,
        "invalid_grant",
        "The user name or the password is wrong.",
    ),
    (
        53000,
        "access_denied",
        "The device is not in the required state. Conditional Access wants a compliant device.",
    ),
    (
        53003,
        "access_denied",
        "Access has been blocked by Conditional Access policies, which allow no token to be issued.",
    ),
    (
        65001,
        "consent_required",
        "Neither the user nor an administrator has consented to use the application.",
    ),
    (
        65002,
        "invalid_client",
        "The application is not pre-authorised for the resource, and nobody can consent to it.",
    ),
    (
        90033,
        "temporarily_unavailable",
        "A transient error has occurred. Please try again.",
    ),
    (
        90072,
        "access_denied",
        "The user account is of another tenant and cannot be used here.",
    ),
    (
        90094,
        "access_denied",
        "An administrator has to consent to the permissions that the application asks for.",
    ),
    (
        530036,
        "access_denied",
        "The sign-in was begun by a device code, which is blocked now.",
    ),
    (
        700016,
        "unauthorized_client",
        "The application was not found in the directory.",
    ),
];

/// OAuth's `error` and the message for a code.
pub(crate) fn find(code: u32) -> Option<(&'static str, &'static str)> {
    let mut choices = CHOICES.into_iter();
    let choice = choices.find(|(known, ..)| *known == code);
    choice.map(|(_, error, message)| (error, message))
}
