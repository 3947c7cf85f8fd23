//! Tiny models, built here from protobuf messages, through the importer: by operator family, sizes, and what must be refused.

mod bad;
mod counts;
mod damage;
mod dims;
mod elementwise;
mod fixed;
mod functions;
mod hostile;
mod in_range;
mod linear;
mod lists;
mod microsoft;
mod ml;
mod net;
mod neural;
mod quantised;
mod reduce;
mod shapes;
mod strings;
mod values;
mod windows;
