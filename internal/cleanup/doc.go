// Package cleanup does what cleanup(8) does: it takes a message from the SMTP
// server, rewrites and expands the addresses of its envelope, looks at its
// headers and body, adds the headers that are missing, and puts the result into
// the queue.
//
// It opens no table itself (it asks an evidence.Source), delivers nothing and
// speaks no SMTP: what is wrong with a message is the Reply of its Result.
// cleanup(8), header_checks(5), canonical(5), virtual(5), ADDRESS_REWRITING_README.
package cleanup
