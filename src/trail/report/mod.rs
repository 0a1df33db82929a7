//! Events and state -> one page that needs nothing beside it.

mod html;
mod page;
mod snapshot;
mod style;
mod tally;

pub use page::page;
pub use snapshot::{Account, Device, RuleEnd, Snapshot, Ticket, User};
pub use tally::Tally;
