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
	requireTLS, chunking                            bool
	auth                                            bool     // and we may log in
	mechanisms                                      []string // of AUTH, those that may be used
	xforward                                        []string // attributes
	sizeLimit                                       int64    // 0: not said
	pixDelay                                        bool     // an old PIX firewall is in between
}

// learn reads the reply to EHLO.
func (s *session) learn(r reply) bool {
	s.features = features{esmtp: true, pixDelay: s.features.pixDelay}
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
			if s.secured == nil {
				s.greeted = words[0]
			}
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
		"STARTTLS", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING", "REQUIRETLS"} {
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
	case "CHUNKING":
		f.chunking = true
	case "REQUIRETLS":
		f.requireTLS = s.secured != nil
	case "AUTH":
		s.offeredAuth(words[1:])
	case "XFORWARD":
		for _, word := range words[1:] {
			f.xforward = append(f.xforward, strings.ToUpper(word))
		}
	}
}

// pix finds out whether an old PIX firewall has overwritten the greeting, and
// does what smtp_pix_workarounds says about it.
func (s *session) pix(greeting string) {
	a := s.d.a
	if strings.Trim(greeting, "20 *\t") != "" {
		return
	}
	words := a.PIXWorkarounds
	for _, table := range a.PIXWorkaroundMaps {
		value, found, err := a.World.Lookup(table, s.host.addr)
		if err != nil {
			a.Log.Warn(fmt.Sprintf("%s: %s lookup error for %s: %v", s.d.r.QueueID,
				params{lmtp: a.LMTP}.name("smtp_pix_workaround_maps"), s.host.addr, err))
		}
		if found {
			words = keywords(value)
			break
		}
	}
	var done []string
	if slices.Contains(words, "disable_esmtp") {
		done = append(done, "disable_esmtp")
		s.features.esmtp = s.d.a.LMTP
	}
	if slices.Contains(words, "delay_dotcrlf") && a.Clock.Now().Sub(s.d.r.Envelope.Arrived) >= a.PIXThreshold {
		done = append(done, "delay_dotcrlf")
		s.features.pixDelay = true
	}
	if len(words) > 0 {
		a.Log.Info(fmt.Sprintf("%s: enabling PIX workarounds: %s for %s", s.d.r.QueueID, strings.Join(done, " "), s.relay()))
	}
}
