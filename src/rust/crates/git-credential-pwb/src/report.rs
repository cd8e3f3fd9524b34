//! `report`: whether a `get` would bring a token, for a program that asks. It says what came of it and never the token.
//!
//! A fact is a line `name: value`, as in R's DCF files; what is not known has no line:
//!
//! | name | value |
//! |---|---|
//! | token | `yes` or `no` |
//! | expires | when the token would expire, such as `2026-11-23T00:00:00Z` |
//! | token_tenant | the tenant that issued it, a GUID |
//! | tenant | the tenant that the request's challenge names, a GUID |
//! | reason | why no token comes, in words for a person, on one line |
//!
//! Of a request that is not for Azure DevOps by https nothing is reported. The exit code is 0 unless the request cannot be
//! read.

use std::cell::RefCell;
use std::fmt::Write as _;

use entrar_core::env::Env;
use entrar_core::guid::Guid;
use entrar_core::time::UnixTime;

use crate::answer::{PREFIX, get};
use crate::place::Place;
use crate::protocol::Request;
use crate::trace::{Fact, Trace};

/// What came of a request.
#[derive(Debug, Default)]
pub(crate) struct Report {
    is_answered: bool,
    expires: Option<UnixTime>,
    token_tenant: Option<Guid>,
    tenant: Option<Guid>,
}

impl Report {
    /// Takes what a fact tells.
    pub(crate) fn note(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Expiry(at, _) => self.expires = *at,
            Fact::Tenants(issuer, wanted) => {
                self.token_tenant = *issuer;
                self.tenant = *wanted;
            }
            Fact::Answered { .. } => self.is_answered = true,
            _ => {}
        }
    }

    /// The lines, with what was said to a person where there is no token.
    fn lines(&self, said: &str) -> String {
        let mut lines = String::new();
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "{name}: {value}");
            }
        };
        line(
            "token",
            Some(if self.is_answered { "yes" } else { "no" }.to_owned()),
        );
        line("expires", self.expires.map(|at| at.to_string()));
        line(
            "token_tenant",
            self.token_tenant.map(|tenant| tenant.to_string()),
        );
        line("tenant", self.tenant.map(|tenant| tenant.to_string()));
        let said: Vec<&str> = said
            .lines()
            .map(|line| line.strip_prefix(PREFIX).unwrap_or(line))
            .collect();
        let reason = said.join(" ");
        line(
            "reason",
            (!self.is_answered && !reason.is_empty()).then_some(reason),
        );
        lines
    }
}

/// Asks as a `get` would, and throws the answer away.
pub(crate) fn report(request: &Request, place: &Place, env: &Env) -> Vec<u8> {
    let trace = Trace::Report(RefCell::default());
    let mut said = Vec::new();
    drop(get(request, place, env, &trace, &mut said));
    let Trace::Report(report) = trace else {
        return Vec::new();
    };
    let mut report = report.into_inner();
    // Without a token nothing was compared.
    report.tenant = report
        .tenant
        .or_else(|| crate::challenge::tenant(&request.challenges));
    report.lines(&String::from_utf8_lossy(&said)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_described_and_a_reason_given_where_there_is_none() {
        let mut report = Report::default();
        assert_eq!(
            report.lines("git-credential-pwb: no token\ngit-credential-pwb: Sign in.\n"),
            "token: no\nreason: no token Sign in.\n"
        );
        let expires = Some(UnixTime::of_whole(1_795_392_000));
        report.note(&Fact::Expiry(expires, UnixTime::default()));
        report.note(&Fact::Tenants(Some(Guid::from_bits(1)), None));
        report.note(&Fact::Answered {
            second_chance: true,
        });
        assert_eq!(
            report.lines("git-credential-pwb: a warning\n"),
            "token: yes\nexpires: 2026-11-23T00:00:00Z\n\
             token_tenant: 00000000-0000-0000-0000-000000000001\n"
        );
    }
}
