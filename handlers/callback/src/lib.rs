//! GET /auth/{provider}/callback: redeems the code and stores the connection.
