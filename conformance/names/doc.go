// Package names plays the transcripts of the restriction language, one for every
// name (internal/restrict/testdata/names), to the Postfix of this machine and to
// Sekisho: the engine's own test holds its decisions to them, this one holds
// them to Postfix, and the whole server to both.
// A case is a configuration, the facts of a session, and what is answered and
// logged; here each configuration is an smtpd service of its own, and the facts
// become a session by XCLIENT, or TLS.
//
//	go test ./conformance/names                  # a sample: one case of five
//	NAMES_EVERY=1 go test ./conformance/names    # all of them
//
// It has tests only.
package names
