//! Session tokens: which visitor's they are, and the content's own.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use crate::connect::{is_same, secret};
use crate::errors::Error;

/// Every token that was handed out to a visitor, and the content's newest one.
pub(crate) struct Sessions {
    tokens: Mutex<Tokens>,
    file: Option<PathBuf>,
}

struct Tokens {
    /// Object ids by token.
    visitors: HashMap<String, String>,
    content: SecretString,
}

impl Sessions {
    /// The content's first token is in its file, if there is to be one.
    pub(crate) fn new(file: Option<PathBuf>) -> Result<Self, Error> {
        let tokens = Tokens {
            visitors: HashMap::new(),
            content: secret()?,
        };
        if let Some(file) = &file {
            write(file, &tokens.content)?;
        }
        Ok(Self {
            tokens: Mutex::new(tokens),
            file,
        })
    }

    pub(crate) fn visit(&self, object_id: &str) -> Result<SecretString, Error> {
        let token = secret()?;
        let key = token.expose_secret().to_owned();
        self.tokens().visitors.insert(key, object_id.to_owned());
        Ok(token)
    }

    /// Whose session it is, as an object id.
    pub(crate) fn visitor(&self, token: &SecretString) -> Option<String> {
        self.tokens().visitors.get(token.expose_secret()).cloned()
    }

    pub(crate) fn content(&self) -> SecretString {
        self.tokens().content.clone()
    }

    pub(crate) fn is_content(&self, token: &SecretString) -> bool {
        is_same(&self.tokens().content, token.expose_secret())
    }

    /// Another token takes the place of the content's.
    pub(crate) fn rotate(&self) -> Result<(), Error> {
        let newer = secret()?;
        // Whoever reads the file is to find one that is good already.
        let mut tokens = self.tokens();
        tokens.content = newer.clone();
        match &self.file {
            Some(file) => write(file, &newer),
            None => Ok(()),
        }
    }

    /// No change can stop half-way, so a lock poisoned by a panic elsewhere guards sound data.
    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is no moment at which the file is there and not whole.
fn write(file: &Path, token: &SecretString) -> Result<(), Error> {
    let failed = |error| Error::ContentToken(file.to_owned(), error);
    let newer = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&newer)
        .and_then(|mut written| written.write_all(token.expose_secret().as_bytes()))
        .and_then(|()| fs::rename(&newer, file))
        .map_err(failed)
}

/// Tokens are secrets, so only numbers are shown.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("visitors", &self.tokens().visitors.len())
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
