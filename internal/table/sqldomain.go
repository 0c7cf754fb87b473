package table

import (
	"bufio"
	"errors"
	"os"
	"strings"

	"sekisho/internal/mail"
)

// domainList is the "domain" of a SQL table: only addresses in these domains
// are looked up there.
type domainList []domainMember

// domainMember is a name or a table of names.
type domainMember struct {
	not   bool // "!" stands before it
	name  string
	table Table
}

// openDomains reads a list of names, "/file" and "type:table".
func (s *Set) openDomains(list string, depth int) (domainList, error) {
	var l domainList
	for _, word := range splitWords(list) {
		members, err := s.openDomain(word, depth)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l = append(l, members...)
	}
	return l, nil
}

func (s *Set) openDomain(word string, depth int) (domainList, error) {
	name := strings.TrimLeft(word, "!")
	m := domainMember{not: (len(word)-len(name))%2 == 1, name: name}
	switch {
	case strings.HasPrefix(name, "/"):
		words, err := readWords(name)
		if err != nil || depth > maxDepth {
			return nil, errors.Join(err)
		}
		return s.openDomains(strings.Join(words, " "), depth+1)
	case strings.Contains(name, ":"):
		t, err := s.open(name, depth+1)
		m.table = t
		return domainList{m}, err
	}
	return domainList{m}, nil
}

// readWords returns the words of a file, without comments.
func readWords(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var words []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); !strings.HasPrefix(strings.TrimSpace(line), "#") {
			words = append(words, splitWords(line)...)
		}
	}
	return words, lines.Err()
}

// wants reports whether the list lets a key through.
func (l domainList) wants(key string) (bool, error) {
	if len(l) == 0 {
		return true, nil
	}
	local, domain, has := mail.SplitAddress(key)
	if !has || local == "" || domain == "" {
		return false, nil
	}
	for _, m := range l {
		match := strings.EqualFold(m.name, domain)
		if m.table != nil {
			var err error
			if _, match, err = m.table.Lookup(domain); err != nil {
				return false, err
			}
		}
		if match {
			return !m.not, nil
		}
	}
	return false, nil
}

// Close closes the tables of the list.
func (l domainList) Close() error {
	var errs []error
	for _, m := range l {
		if m.table != nil {
			errs = append(errs, m.table.Close())
		}
	}
	return errors.Join(errs...)
}
