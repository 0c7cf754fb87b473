package smtp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// features are what the host offers.
type features struct {
	esmtp                                           bool
	pipelining, eightBit, size, dsn, utf8, startTLS bool
	sizeLimit                                       int64 // 0: not said
}

// learn reads the reply to EHLO.
func (s *session) learn(r reply) bool {
	s.features = features{esmtp: true}
	discard, err := s.discarded()
	if err != nil {
		return s.fail(trouble{dsn: "4.3.0", text: "local data error while talking to " + s.name()})
	}
	if known := knownKeywords(discard); known != "" && !slices.Contains(discard, "silent-discard") {
		s.d.a.Log.Info("discarding EHLO keywords: " + known)
	}
	for i, line := range r.list {
		words := strings.FieldsFunc(line[min(len(line), 4):], func(c rune) bool { return c == ' ' || c == '\t' || c == '=' })
		if len(words) == 0 {
			continue
		}
		if i == 0 {
			if s.isMyself(words[0]) {
				return false
			}
			continue
		}
		if !slices.Contains(discard, strings.ToLower(words[0])) {
			s.feature(words)
		}
	}
	if s.features.utf8 && !s.features.eightBit {
		s.d.a.Log.Info(fmt.Sprintf("host %s offers SMTPUTF8 support, but not 8BITMIME", s.name()))
		s.features.eightBit = true
	}
	if !s.features.utf8 && s.d.needsUTF8() {
		return s.fail(trouble{dsn: "5.6.7",
			text: "SMTPUTF8 is required, but was not offered by host " + s.name()})
	}
	return true
}

// discarded returns the keywords of this host that are to be ignored.
func (s *session) discarded() ([]string, error) {
	for _, table := range s.d.a.DiscardEHLOMaps {
		value, found, err := s.d.a.World.Lookup(table, s.host.addr)
		if err != nil {
			s.d.a.Log.Warn(fmt.Sprintf("%s: %s map lookup error for %s: %v", s.d.r.QueueID,
				params{lmtp: s.d.a.LMTP}.name("smtp_discard_ehlo_keyword_address_maps"), s.host.addr, err))
			return nil, err
		}
		if found {
			return keywords(value), nil
		}
	}
	return s.d.a.DiscardEHLO, nil
}

// knownKeywords names those of a list that Postfix knows, in the order and the
// spelling of its ehlo_mask(3).
func knownKeywords(list []string) string {
	var known []string
	for _, word := range []string{"8BITMIME", "AUTH", "ETRN", "PIPELINING", "SIZE", "VERP", "VRFY", "XCLIENT", "XFORWARD",
		"STARTTLS", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING"} {
		if !slices.Contains(list, strings.ToLower(word)) {
			continue
		}
		if word == "SMTPUTF8" {
			word = "EHLO_MASK_SMTPUTF8"
		}
		known = append(known, word)
	}
	return strings.Join(known, " ")
}

func (s *session) feature(words []string) {
	f := &s.features
	switch strings.ToUpper(words[0]) {
	case "8BITMIME":
		f.eightBit = true
	case "PIPELINING":
		f.pipelining = true
	case "SIZE":
		f.size = true
		if len(words) > 1 {
			if strings.Trim(words[1], "0123456789") != "" {
				s.d.a.Log.Warn(fmt.Sprintf("bad EHLO SIZE limit %q from %s", words[1], s.relay()))
				return
			}
			f.sizeLimit, _ = strconv.ParseInt(words[1], 10, 64) // out of range: the largest number
		}
	case "STARTTLS":
		f.startTLS = true
	case "DSN":
		f.dsn = true
	case "SMTPUTF8":
		f.utf8 = true
	}
}
