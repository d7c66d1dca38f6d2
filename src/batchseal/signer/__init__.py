"""The process that talks to the signing service: it leases operations, signs them, and does the duties of an instance."""
