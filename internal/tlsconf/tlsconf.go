// Package tlsconf reads what main.cf says about TLS, in Postfix's terms:
// protocol lists, cipher grades and exclusions, chain files.
//
// It makes no connections and knows no parameter by name. TLS_README and
// postconf(5) of Postfix.
package tlsconf

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sekisho/internal/tlsinfo"
)

// versions are the protocols by Postfix's names, oldest first. SSLv2 and SSLv3
// exist only to be excluded.
var versions = []struct {
	name string
	id   uint16
}{
	{"SSLv2", 0}, {"SSLv3", 0}, {"TLSv1", tls.VersionTLS10}, {"TLSv1.1", tls.VersionTLS11},
	{"TLSv1.2", tls.VersionTLS12}, {"TLSv1.3", tls.VersionTLS13},
}

// Protocols reads a protocol list: ">=TLSv1.2, <=TLSv1.3", "!TLSv1" or names.
// It returns the lowest and the highest version that is left.
func Protocols(list string) (lowest, highest uint16, err error) {
	words := strings.FieldsFunc(list, func(c rune) bool { return strings.ContainsRune(", :\t\r\n", c) })
	named := slices.ContainsFunc(words, func(w string) bool { return strings.IndexByte("!<>", w[0]) < 0 })
	allowed := make([]bool, len(versions))
	for i := range allowed {
		allowed[i] = !named
	}
	for _, w := range words {
		if !allow(allowed, w) {
			return 0, 0, fmt.Errorf("unknown TLS protocol in %q", w)
		}
	}
	for i, v := range versions {
		if allowed[i] && v.id != 0 {
			if lowest == 0 {
				lowest = v.id
			}
			highest = v.id
		}
	}
	if lowest == 0 {
		return 0, 0, fmt.Errorf("no TLS protocol is left in %q", list)
	}
	return lowest, highest, nil
}

// allow applies one element of a protocol list.
func allow(allowed []bool, word string) bool {
	name := strings.TrimLeft(word, "!<>=")
	at := slices.IndexFunc(versions, func(v struct {
		name string
		id   uint16
	}) bool {
		return strings.EqualFold(v.name, name)
	})
	if at < 0 {
		return false
	}
	switch word[:len(word)-len(name)] {
	case "":
		allowed[at] = true
	case "!":
		allowed[at] = false
	case ">=":
		clear(allowed[:at])
	case "<=":
		clear(allowed[at+1:])
	default:
		return false
	}
	return true
}

// Suites are the cipher suites, for protocols before TLSv1.3, of a grade (null,
// export, low, medium or high) without those that the exclusions name: a suite
// by OpenSSL's name, or all with something in common such as 3DES, kRSA, SHA1,
// aRSA+AES256. What is too weak for crypto/tls is in none. Where nothing is
// left the list is empty, not nil.
func Suites(grade string, exclusions []string) ([]uint16, error) {
	switch strings.ToLower(grade) {
	case "null", "export", "low", "medium", "high":
	default:
		return nil, fmt.Errorf("unknown cipher grade %q; use medium or high", grade)
	}
	high := strings.EqualFold(grade, "high")
	out := []uint16{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		traits := traitsOf(s)
		switch {
		case slices.Contains(traits, "rc4"), slices.Contains(s.SupportedVersions, tls.VersionTLS13) && len(s.SupportedVersions) == 1:
		case high && slices.Contains(traits, "3des"):
		case slices.ContainsFunc(exclusions, func(e string) bool { return excluded(traits, e) }):
		default:
			out = append(out, s.ID)
		}
	}
	return out, nil
}

// excluded reports whether a suite has all that an exclusion names.
func excluded(traits []string, exclusion string) bool {
	for _, word := range strings.Split(strings.ToLower(exclusion), "+") {
		if !slices.Contains(traits, word) {
			return false
		}
	}
	return exclusion != ""
}

// traitsOf are the words by which OpenSSL's cipher lists select a suite.
func traitsOf(s *tls.CipherSuite) []string {
	name := s.Name
	openSSL, _ := tlsinfo.CipherName(s.ID)
	traits := []string{strings.ToLower(openSSL)}
	add := func(when bool, words ...string) {
		if when {
			traits = append(traits, words...)
		}
	}
	has := func(part string) bool { return strings.Contains(name, part) }
	add(has("TLS_RSA_"), "krsa", "arsa", "rsa")
	add(has("ECDHE_"), "ecdhe", "eecdh", "kecdhe", "keecdh", "ecdh")
	add(has("ECDHE_RSA"), "arsa", "rsa")
	add(has("ECDHE_ECDSA"), "aecdsa", "ecdsa")
	add(has("AES_"), "aes")
	add(has("AES_128"), "aes128")
	add(has("AES_256"), "aes256")
	add(has("GCM"), "aesgcm")
	add(has("CBC") && has("AES"), "aescbc")
	add(has("CHACHA20"), "chacha20")
	add(has("3DES"), "3des", "des", "medium")
	add(has("RC4"), "rc4", "medium")
	add(!has("3DES") && !has("RC4"), "high")
	add(strings.HasSuffix(name, "_SHA"), "sha", "sha1")
	add(strings.HasSuffix(name, "_SHA256") && has("CBC"), "sha256")
	return traits
}

// Chains reads files that hold private keys, each followed by its chain of
// certificates (smtpd_tls_chain_files).
func Chains(files []string) ([]tls.Certificate, error) {
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		all = append(append(all, b...), '\n')
	}
	return ParseChains(all)
}

// ParseChains reads private keys, each followed by its chain of certificates, in
// PEM.
func ParseChains(data []byte) ([]tls.Certificate, error) {
	var out []tls.Certificate
	var key, chain []byte
	finish := func() error {
		if key == nil && chain == nil {
			return nil
		}
		c, err := tls.X509KeyPair(chain, key)
		out = append(out, c)
		key, chain = nil, nil
		return err
	}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			if err := finish(); err != nil {
				return nil, err
			}
			key = pem.EncodeToMemory(block)
		} else if block.Type == "CERTIFICATE" {
			chain = append(chain, pem.EncodeToMemory(block)...)
		}
	}
	if err := finish(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("no key and certificate found")
	}
	return out, nil
}
