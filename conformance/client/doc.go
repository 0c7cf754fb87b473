// Package client compares Sekisho's SMTP client with Postfix's smtp(8): the same
// scripted server is the next hop of both, and both must send it the same bytes
// and log the same lines.
//
// Postfix runs with a configuration and a queue of its own; Sekisho's client
// reads the very same files. There is nothing here but tests.
package client
