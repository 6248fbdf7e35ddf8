//! The provider catalogue, which is data, and the client of the providers' endpoints.
