//! Posit's products: which of them this process says that it runs in, and whether its Workbench is new enough.

use entrar_core::env::Env;
use entrar_core::error::{Error, Kind};
use entrar_core::text::presentable;
use entrar_core::variables::VERSION;

/// The name that Posit Workbench gives itself.
pub const WORKBENCH: &str = "WORKBENCH";
/// The name that Posit Connect gives itself.
pub const CONNECT: &str = "CONNECT";

/// The first Workbench that hands out delegated Azure tokens.
const FIRST_VERSION: &str = "2024.12.0";

/// Which of Posit's products this process says that it runs in, and the variable that says so.
#[must_use]
pub fn product(env: &Env) -> Option<(&'static str, &'static str)> {
    [CONNECT, WORKBENCH].into_iter().find_map(|name| {
        ["POSIT_PRODUCT", "RSTUDIO_PRODUCT"]
            .into_iter()
            .find(|variable| env.var(variable).is_some_and(|value| value == name))
            .map(|variable| (name, variable))
    })
}

/// Whether this process says that it runs in this product.
#[must_use]
pub fn is(env: &Env, name: &str) -> bool {
    product(env).is_some_and(|(product, _)| product == name)
}

/// Whether Workbench, as far as `RSTUDIO_VERSION` tells, knows delegated Azure tokens. A development build is never too
/// old, and neither is a version that cannot be read.
///
/// # Errors
/// [`Kind::ServerTooOld`], with both versions.
pub fn check_version(env: &Env) -> Result<(), Error> {
    let Some(version) = env.var(VERSION) else {
        return Ok(());
    };
    if version.to_ascii_lowercase().contains("dev") {
        return Ok(());
    }
    match (numbers(&version), numbers(FIRST_VERSION)) {
        (Some(actual), Some(first)) if actual < first => Err(Error::new(
            Kind::ServerTooOld,
            format!(
                "this server is version {}, and delegated Azure tokens need {FIRST_VERSION} or later",
                presentable(&version, &[])
            ),
        )
        .lasting()),
        _ => Ok(()),
    }
}

/// The numbers of a version, up to the first `-` or `+`.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let release = version.split(['-', '+']).next()?;
    release
        .trim()
        .split('.')
        .map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_known_to_be_too_old_is_refused() {
        for (version, accepted) in [
            ("2024.12.0", true),
            ("2025.05.1+513.pro3", true),
            ("2024.09.1", false),
            ("2024.09.1+394.pro7", false),
            ("2024.09.0-dev", true),
            ("2024.09.0-DEV+1", true),
            ("nightly", true),
            ("", true),
        ] {
            let env = Env::fixed(&[(VERSION, version)], 0.0);
            assert_eq!(check_version(&env).is_ok(), accepted, "{version}");
        }
    }

    #[test]
    fn a_product_comes_with_the_variable_that_names_it() {
        let named = |variables: &[(&str, &str)]| product(&Env::fixed(variables, 0.0));
        assert_eq!(
            named(&[("RSTUDIO_PRODUCT", "WORKBENCH")]),
            Some((WORKBENCH, "RSTUDIO_PRODUCT"))
        );
        assert_eq!(
            named(&[
                ("RSTUDIO_PRODUCT", "WORKBENCH"),
                ("POSIT_PRODUCT", "CONNECT")
            ]),
            Some((CONNECT, "POSIT_PRODUCT"))
        );
        assert_eq!(named(&[("POSIT_PRODUCT", "OTHER")]), None);
    }
}
