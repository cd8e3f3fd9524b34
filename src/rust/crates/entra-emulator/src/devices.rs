//! Device codes: what a client polls with, the code that a person types for it, and what they answered.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use crate::errors::Error;
use crate::random;
use crate::refusals::Refusal;
use crate::scope::Scope;

/// By how much a client that polls too often has to slow down, in seconds (RFC 8628, section 3.5).
const SLOWER: i64 = 5;

/// The device codes that are out.
#[derive(Default)]
pub(crate) struct Devices(Mutex<HashMap<String, Device>>);

/// What a client asked for with a device code.
#[derive(Clone)]
pub(crate) struct DeviceRequest {
    pub(crate) client_id: String,
    pub(crate) scope: Scope,
    /// The tenant's name as the client has it: its id or an alias.
    pub(crate) tenant_name: String,
}

struct Device {
    request: DeviceRequest,
    user_code: String,
    expires_at: i64,
    interval: i64,
    polled_at: Option<i64>,
    answer: Option<DeviceAnswer>,
    used: bool,
}

/// What the person who typed the code answered.
#[derive(Clone)]
pub(crate) enum DeviceAnswer {
    /// This user signs in.
    SignIn {
        object_id: String,
    },
    Deny,
    /// The sign-in fails with this AADSTS code.
    Fail(u32),
}

/// A new device code.
pub(crate) struct NewDevice {
    pub(crate) device_code: SecretString,
    pub(crate) user_code: String,
}

impl Devices {
    /// A device code that lives for `lifetime` seconds and may be asked about every `interval` seconds.
    pub(crate) fn issue(
        &self,
        request: DeviceRequest,
        now: i64,
        lifetime: u32,
        interval: u32,
    ) -> Result<NewDevice, Error> {
        let device_code = random::text::<48>()?;
        let user_code = random::user_code()?;
        let lifetime = i64::from(lifetime);
        let mut devices = self.devices();
        // One that expired is remembered for a while, so that a client that is late learns that it is.
        devices.retain(|_, device| now < device.expires_at.saturating_add(lifetime));
        let device = Device {
            request,
            user_code: user_code.clone(),
            expires_at: now.saturating_add(lifetime),
            interval: interval.into(),
            polled_at: None,
            answer: None,
            used: false,
        };
        devices.insert(device_code.clone(), device);
        Ok(NewDevice {
            device_code: device_code.into(),
            user_code,
        })
    }

    /// What waits for an answer under a code that a person typed: in any case, with spaces and hyphens where they like.
    pub(crate) fn waiting(&self, typed: &str, now: i64) -> Option<DeviceRequest> {
        let mut devices = self.devices();
        let device = find(&mut devices, typed, now)?;
        Some(device.request.clone())
    }

    /// Answers it, once; whether there was anything to answer.
    pub(crate) fn answer(&self, typed: &str, now: i64, answer: DeviceAnswer) -> bool {
        let mut devices = self.devices();
        let device = find(&mut devices, typed, now);
        device.is_some_and(|device| device.answer.replace(answer).is_none())
    }

    /// What the person answered, for the client that polls: the request and who signed in. The code is used up if
    /// `for_good`.
    pub(crate) fn poll(
        &self,
        device_code: &SecretString,
        client_id: &str,
        now: i64,
        for_good: bool,
    ) -> Result<(DeviceRequest, String), Refusal> {
        let mut devices = self.devices();
        let device = devices
            .get_mut(device_code.expose_secret())
            .ok_or(Refusal::UnknownDeviceCode)?;
        if device.request.client_id != client_id {
            return Err(Refusal::OtherClientsGrant);
        }
        if device.used {
            return Err(Refusal::UsedCode);
        }
        if now >= device.expires_at {
            return Err(Refusal::ExpiredDeviceCode);
        }
        match &device.answer {
            None => Err(device.not_yet(now)),
            Some(DeviceAnswer::Deny) => Err(Refusal::DeclinedDevice),
            Some(DeviceAnswer::Fail(code)) => Err(Refusal::Chosen(*code)),
            Some(DeviceAnswer::SignIn { object_id }) => {
                device.used = for_good;
                Ok((device.request.clone(), object_id.clone()))
            }
        }
    }

    /// No change can stop half-way, so a lock poisoned by a panic elsewhere guards sound data.
    fn devices(&self) -> MutexGuard<'_, HashMap<String, Device>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    fn not_yet(&mut self, now: i64) -> Refusal {
        let before = self.polled_at.replace(now);
        if before.is_some_and(|before| now < before.saturating_add(self.interval)) {
            self.interval = self.interval.saturating_add(SLOWER);
            Refusal::SlowDown
        } else {
            Refusal::AuthorizationPending
        }
    }
}

fn find<'a>(
    devices: &'a mut HashMap<String, Device>,
    typed: &str,
    now: i64,
) -> Option<&'a mut Device> {
    let letters = typed.chars().filter(char::is_ascii_alphanumeric);
    let user_code = letters.collect::<String>().to_ascii_uppercase();
    let mut devices = devices.values_mut();
    devices.find(|device| {
        device.user_code == user_code && device.answer.is_none() && now < device.expires_at
    })
}

/// The codes are secrets, so only their number is shown.
impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices")
            .field("number", &self.devices().len())
            .finish()
    }
}
