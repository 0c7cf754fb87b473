package smtpd

import (
	"sort"
	"strconv"
	"strings"
)

// discardMask is a set of EHLO keywords that are not offered.
type discardMask uint32

const (
	noETRN discardMask = 1 << iota
	noVRFY
	noSIZE
	noPipelining
	noAUTH
	no8BITMIME
	noStartTLS
	noXCLIENT
	noXFORWARD
	noStatusCodes
	noDSN
	noVERP
	noSMTPUTF8
	noChunking
	noRequireTLS
	silentDiscard
)

// discardWords names the keywords, in the order of Postfix's ehlo_mask(3).
var discardWords = []struct {
	word string
	bit  discardMask
}{
	{"8BITMIME", no8BITMIME}, {"AUTH", noAUTH}, {"ETRN", noETRN}, {"PIPELINING", noPipelining},
	{"SIZE", noSIZE}, {"VERP", noVERP}, {"VRFY", noVRFY}, {"XCLIENT", noXCLIENT},
	{"XFORWARD", noXFORWARD}, {"STARTTLS", noStartTLS}, {"ENHANCEDSTATUSCODES", noStatusCodes},
	{"DSN", noDSN}, {"EHLO_MASK_SMTPUTF8", noSMTPUTF8}, {"SMTPUTF8", noSMTPUTF8}, {"CHUNKING", noChunking},
	{"REQUIRETLS", noRequireTLS}, {"SILENT-DISCARD", silentDiscard},
}

// parseDiscard reads a list of keywords. Those nobody knows are not announced
// anyway.
func parseDiscard(s string) (mask discardMask) {
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }) {
		for _, d := range discardWords {
			if strings.EqualFold(w, d.word) {
				mask |= d.bit
			}
		}
	}
	return mask
}

// String names the keywords as Postfix's log does, SMTPUTF8 by its other name.
func (m discardMask) String() string {
	var out []string
	for _, d := range discardWords {
		if m&d.bit != 0 {
			out = append(out, d.word)
			m &^= d.bit
		}
	}
	return strings.Join(out, " ")
}

// discardFor decides what this client is not offered.
func (s *session) discardFor() discardMask {
	for _, table := range s.set.discardMaps {
		words, found, err := s.srv.o.Lookup(table, s.facts.ClientAddress)
		if err != nil {
			s.warn("%s lookup error for %s", table, s.facts.ClientAddress)
			return s.set.discard
		}
		if !found {
			continue
		}
		return parseDiscard(words)
	}
	return s.set.discard
}

const (
	xclientNames  = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"
	xforwardNames = "NAME ADDR PROTO HELO SOURCE PORT IDENT"
)

// features are the lines of the EHLO reply after the first.
func (s *session) features() []string {
	m := s.discard
	var out []string
	offer := func(bit discardMask, when bool, line string) {
		if m&bit == 0 && when {
			out = append(out, line)
		}
	}
	size := "SIZE"
	if s.set.messageSizeLimit > 0 {
		size += " " + strconv.FormatInt(s.set.messageSizeLimit, 10)
	}
	offer(noPipelining, true, "PIPELINING")
	offer(noSIZE, true, size)
	offer(noVRFY, !s.set.disableVRFY, "VRFY")
	offer(noETRN, true, "ETRN")
	offer(noStartTLS, s.set.tls.offer && s.tls == nil, "STARTTLS")
	if s.auth.active() && m&noAUTH == 0 && !s.matchHost(s.set.lists.saslHidden) {
		offer(noAUTH, true, "AUTH "+s.auth.names)
		offer(noAUTH, s.set.sasl.broken, "AUTH="+s.auth.names)
	}
	offer(noVERP, m&noVERP == 0 && s.matchHost(s.set.lists.verp), "XVERP")
	offer(noXCLIENT, s.xclientAllowed, "XCLIENT "+xclientNames)
	offer(noXFORWARD, s.xforwardAllowed, "XFORWARD "+xforwardNames)
	offer(noStatusCodes, true, "ENHANCEDSTATUSCODES")
	offer(no8BITMIME, true, "8BITMIME")
	offer(noDSN, true, "DSN")
	offer(noSMTPUTF8, s.set.smtputf8, "SMTPUTF8")
	offer(noChunking, true, "CHUNKING")
	offer(noRequireTLS, s.takesRequireTLS(), "REQUIRETLS")
	return out
}

// commandNames is what HELP says.
func commandNames() string {
	var out []string
	for _, c := range commands {
		out = append(out, c.name)
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}
