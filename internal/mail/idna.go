package mail

import "golang.org/x/net/idna"

// ASCIIDomain turns U-labels into A-labels (RFC 5891). A name that cannot be
// turned stays as it is and is found invalid by ValidHostname.
func ASCIIDomain(name string) string {
	for i := 0; i < len(name); i++ {
		if name[i] >= 0x80 {
			if a, err := idna.Lookup.ToASCII(name); err == nil {
				return a
			}
			return name
		}
	}
	return name
}

// UnicodeDomain returns a domain with its A-labels as people read them (RFC
// 5890), or as it is when they make no sense.
func UnicodeDomain(name string) string {
	if u, err := idna.Display.ToUnicode(name); err == nil {
		return u
	}
	return name
}
