//! An OAuth provider on the loopback interface with every misbehaviour seen in the wild.
