// Package wire reads and writes the lines of SMTP and its kin. Its reader sees
// what the protocol cares about and bufio hides: whether a line ended in a bare
// LF, whether the client has sent more than it may, where a line was cut because
// it is too long. It knows no command and no reply.
//
// Input and output share a Conn: output waits until the reader needs more input
// than it has, so that replies to pipelined commands leave together (RFC 2920).
// Buffers come from a pool and go back while a connection is silent.
// RFC 5321 sections 2.3.8 and 4.5.2, RFC 3030; Postfix's smtp_stream(3).
package wire
