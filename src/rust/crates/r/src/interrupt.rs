//! Whether the person at the keyboard, or R itself, wants the call to end.
//!
//! extendr has no function for this, so R's own are declared here.

#![allow(unsafe_code, reason = "the one place that calls C")]

use std::ffi::{c_int, c_void};
use std::ptr::{from_mut, null_mut};

use extendr_api::SEXP;
use extendr_api::prelude::*;

#[allow(
    improper_ctypes,
    reason = "an R object is a pointer that only R looks behind"
)]
unsafe extern "C-unwind" {
    fn R_CheckUserInterrupt();
    fn R_ToplevelExec(
        function: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
        data: *mut c_void,
    ) -> c_int;
    fn R_tryCatch(
        body: Option<unsafe extern "C-unwind" fn(*mut c_void) -> SEXP>,
        body_data: *mut c_void,
        classes: SEXP,
        handler: Option<unsafe extern "C-unwind" fn(SEXP, *mut c_void) -> SEXP>,
        handler_data: *mut c_void,
        finally: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
        finally_data: *mut c_void,
    ) -> SEXP;
}

/// What R wants: the condition that it has raised, if that could be caught.
pub struct Request(pub Robj);

/// Whether R wants the call to end: because of an interrupt, or of an error such as a time limit that
/// has passed (`setTimeLimit()`). R counts it as dealt with from then on, so the caller must raise the
/// condition again. To be called on R's thread only.
pub fn requested() -> Option<Request> {
    // It lives in this frame, over which nothing jumps.
    let classes = Strings::from_values(["interrupt", "error"]);
    let mut watch = Watch {
        // SAFETY: `classes` protects the object until the end of this function.
        classes: unsafe { classes.get() },
        condition: None,
    };
    // SAFETY: `catch` gets the pointer that it expects, and no jump leaves R_ToplevelExec.
    let finished = unsafe { R_ToplevelExec(Some(catch), from_mut(&mut watch).cast()) != 0 };
    match watch.condition {
        Some(condition) => Some(Request(condition)),
        None if finished => None,
        // Some other jump, such as a restart that an event handler invoked.
        None => Some(Request(().into())),
    }
}

struct Watch {
    classes: SEXP,
    condition: Option<Robj>,
}

/// Below `R_ToplevelExec`, which stops every jump that the handlers here do not. R may jump out of this
/// frame, so it owns nothing.
unsafe extern "C-unwind" fn catch(data: *mut c_void) {
    // SAFETY: `data` is the pointer that `requested` passed.
    unsafe {
        let classes = (*data.cast::<Watch>()).classes;
        R_tryCatch(
            Some(check),
            null_mut(),
            classes,
            Some(keep),
            data,
            None,
            null_mut(),
        );
    }
}

/// R jumps out of this frame, so it owns nothing.
unsafe extern "C-unwind" fn check(_: *mut c_void) -> SEXP {
    // SAFETY: called on R's own thread, below `R_tryCatch`.
    unsafe { R_CheckUserInterrupt() };
    null()
}

unsafe extern "C-unwind" fn keep(condition: SEXP, data: *mut c_void) -> SEXP {
    // SAFETY: `data` is the pointer that `requested` passed, and nobody else uses it now; R hands in a
    // live object, which an `Robj` protects.
    unsafe {
        (*data.cast::<Watch>()).condition = Some(Robj::from_sexp(condition));
    }
    null()
}

fn null() -> SEXP {
    // SAFETY: the NULL object lives as long as R does.
    unsafe { r!(NULL).get() }
}
