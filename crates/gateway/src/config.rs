//! From what an operator typed ([`ServeOptions`]) to what it means ([`Settings`]).
//!
//! The law: a setting comes from a flag, else the environment, else the file, else OpenSRF's own
//! file, else its default;
//! and what is wrong is an error that names the place, the key and what was expected. Nothing
//! wrong is ever passed over in favour of a default.

mod addresses;
mod adopt;
mod bus;
mod choices;
mod error;
mod file;
mod logs;
mod names;
mod opensrf;
mod options;
pub(crate) mod parts;
mod settings;
mod surroundings;
mod text;
mod units;
mod web;

pub use addresses::{Network, Origin};
pub use adopt::Adopted;
pub use bus::{BusText, BusUrl, EmbeddedBus, RedisBus, Secret, Transport, XmppBus};
pub use choices::{
    BusTls, ClientHeader, CloseCode, CloseFin, Count, DrainStatus, Framing, Ingress, Refuse, Track,
    TransportName, UrlPath,
};
pub use error::ConfigError;
pub use file::{options_of, read_file};
pub use logs::{Facility, LogFilter, LogFormat, LogTag, LogTo};
pub use names::check_variables;
pub use opensrf::{TheirBus, options as opensrf_options};
pub use options::{OF_BUS, OF_PROGRAM, ServeOptions};
pub use settings::{Behind, Closing, Draining, Front, Limits, Log, Program, Settings};
pub use surroundings::{Surroundings, make_room_for_files, raise_open_files, socket_name};
pub use text::Unfit;
pub use units::{Patience, Period, Size, Threshold};
pub use web::Web;
