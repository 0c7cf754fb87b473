package cyrus

import "testing"

// TestDigest has the example of RFC 2831 section 4.
func TestDigest(t *testing.T) {
	r, err := parseDirectives(`charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001,` +
		`cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",response=d388dad90d4bbd760a152321f2143af7,qop=auth`)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.digest("AUTHENTICATE:", "secret"); got != r["response"] {
		t.Errorf("response %s, want %s", got, r["response"])
	}
	if got, want := r.digest(":", "secret"), "ea40f60335c427b5527b84dbabcdfffd"; got != want {
		t.Errorf("rspauth %s, want %s", got, want)
	}
}

func TestDirectives(t *testing.T) {
	r, err := parseDirectives(`, Username = x,a="b\"c,d" , e="",f= g `)
	if err != nil || len(r) != 4 || r["username"] != "x" || r["a"] != `b"c,d` || r["e"] != "" || r["f"] != "g" {
		t.Errorf("%q, %v", r, err)
	}
	for _, bad := range []string{`a="b`, `a`, `a=b,A=c`, `a="b\`} {
		if r, err := parseDirectives(bad); err == nil {
			t.Errorf("%s: %q", bad, r)
		}
	}
}
