// Package control lets another process look into a queue and work on it: the
// queue commands, while the server runs and while it does not; and it lets local
// users submit mail.
//
// Open returns a Spool. While the server runs it is the server that is asked,
// over the socket "control" in the spool's directory; otherwise the caller opens
// the spool himself, and the server cannot be started until Close. Root and the
// owner of the spool may do everything. The server knows from the kernel who
// asks, and from the configuration which other users may list and flush messages
// and submit mail.
//
// On the socket one connection is one request: a line of JSON, answered by lines
// of JSON, one for each message in a listing, and a last one that has "end". The
// content of a message follows a line that has its length; that of a submission
// follows the request.
package control
