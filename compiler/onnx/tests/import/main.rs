//! Tiny models, built here from protobuf messages, through the importer: by operator family, sizes, and what must be refused.

mod bad;
mod damage;
mod dims;
mod elementwise;
mod fixed;
mod functions;
mod linear;
mod net;
mod reduce;
mod shapes;
mod values;
mod windows;
