//! Whether the person at the keyboard wants the call to end.
//!
//! extendr has no function for this, so R's two are declared here.

#![allow(unsafe_code, reason = "the one place that calls C")]

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

unsafe extern "C-unwind" {
    fn R_CheckUserInterrupt();
    fn R_ToplevelExec(
        function: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
        data: *mut c_void,
    ) -> c_int;
}

/// R jumps out of this frame when there is an interrupt, so it owns nothing.
unsafe extern "C-unwind" fn check(_: *mut c_void) {
    // SAFETY: called on R's own thread, below `R_ToplevelExec`, which catches the jump.
    unsafe { R_CheckUserInterrupt() }
}

/// Whether an interrupt was pending; R counts it as handled from then on, so the caller must
/// raise it. To be called on R's thread only.
pub fn was_requested() -> bool {
    // SAFETY: `check` takes no data and lets nothing but R's own jump out, which ends here.
    unsafe { R_ToplevelExec(Some(check), null_mut()) == 0 }
}
