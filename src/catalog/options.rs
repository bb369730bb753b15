//! Options of `WITH (..)`, parsed into final types.
