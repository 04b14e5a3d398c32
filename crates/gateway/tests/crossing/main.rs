//! What crosses the gateway's Close on the wire: requests that are not executed, and answers that
//! must not be destroyed. Long form: `LAB_LONG=1`.

mod barrier;
mod owed;
mod proxies;
mod requests;
