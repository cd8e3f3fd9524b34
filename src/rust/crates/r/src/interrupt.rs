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
    static R_NilValue: SEXP;
    fn VECTOR_ELT(list: SEXP, place: isize) -> SEXP;
    fn SET_VECTOR_ELT(list: SEXP, place: isize, value: SEXP) -> SEXP;
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

/// R wants the call to end, and counts that as dealt with: the condition that [`take_condition`] returns must be raised
/// again.
#[derive(Debug)]
pub struct Requested;

/// R's objects that a look needs. They are made before the first call: an allocation that fails would jump over the call
/// that looks, and leave what it holds as it was.
struct Objects {
    /// The classes of conditions to catch.
    classes: Strings,
    /// A list of one, for the condition that was caught.
    caught: List,
}

thread_local! {
    // Not to be dropped: when R's thread ends, R may have ended before.
    static OBJECTS: &'static Objects = Box::leak(Box::new(Objects {
        classes: Strings::from_values(["interrupt", "error"]),
        caught: List::from_values([NULL]),
    }));
}

/// Makes what a look needs. To be called when the package is loaded, on R's thread.
pub fn prepare() {
    OBJECTS.with(|_| ());
}

/// Whether R wants the call to end: because of an interrupt, or of an error such as a time limit that
/// has passed (`setTimeLimit()`). To be called on R's thread only.
///
/// Nothing of R's is allocated here outside `R_ToplevelExec`, which ends every jump.
pub fn requested() -> Option<Requested> {
    OBJECTS.with(|objects| {
        // It lives in this frame, over which nothing jumps.
        let mut watch = Watch {
            // SAFETY: both objects live as long as the process.
            classes: unsafe { objects.classes.get() },
            // SAFETY: as above.
            caught: unsafe { objects.caught.get() },
            has_caught: false,
        };
        // SAFETY: `catch` gets the pointer that it expects, and no jump leaves R_ToplevelExec.
        let finished = unsafe { R_ToplevelExec(Some(catch), from_mut(&mut watch).cast()) != 0 };
        // Without a condition it was some other jump, such as a restart that an event handler invoked.
        (watch.has_caught || !finished).then_some(Requested)
    })
}

/// The condition of the latest request; `NULL` if it could not be caught. This allocates, so nothing may be held.
pub fn take_condition(_: Requested) -> Robj {
    OBJECTS.with(|objects| {
        // SAFETY: the list has one element, and R's NULL object lives as long as R.
        unsafe {
            let list = objects.caught.get();
            let condition = Robj::from_sexp(VECTOR_ELT(list, 0));
            SET_VECTOR_ELT(list, 0, null());
            condition
        }
    })
}

struct Watch {
    classes: SEXP,
    caught: SEXP,
    has_caught: bool,
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
    unsafe {
        R_CheckUserInterrupt();
        null()
    }
}

/// Puts the condition where the collector finds it, which takes no memory.
unsafe extern "C-unwind" fn keep(condition: SEXP, data: *mut c_void) -> SEXP {
    // SAFETY: `data` is the pointer that `requested` passed, and nobody else uses it now; R hands in a
    // live object, and the list has one element.
    unsafe {
        let watch = data.cast::<Watch>();
        SET_VECTOR_ELT((*watch).caught, 0, condition);
        (*watch).has_caught = true;
        null()
    }
}

unsafe fn null() -> SEXP {
    // SAFETY: a constant of R's, set before any package is loaded.
    unsafe { R_NilValue }
}
