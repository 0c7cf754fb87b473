package smtp

import (
	"testing"

	"sekisho/internal/deliver"
)

// What is the host's trouble, and not the message's, is trouble of the next hop
// if there is no other host (SMTP_THROTTLE in Postfix).
func TestDown(t *testing.T) {
	for name, c := range map[string]struct {
		replies map[string]string
		down    bool
	}{
		"sent":            {nil, false},
		"refused":         {map[string]string{"RCPT": "550 nobody"}, false},
		"greylisted":      {map[string]string{"RCPT": "450 later"}, false},
		"sender later":    {map[string]string{"MAIL": "451 later"}, false},
		"message later":   {map[string]string{".": "451 later"}, false},
		"busy":            {map[string]string{"banner": "421 busy"}, true},
		"EHLO busy":       {map[string]string{"EHLO": "421 busy"}, true},
		"lost":            {map[string]string{"RCPT": ""}, true},
		"lost at the end": {map[string]string{".": ""}, true},
		"never welcome":   {map[string]string{"EHLO": "502 no", "HELO": "550 no"}, false},
	} {
		s := &server{replies: map[string]string{}}
		for k, v := range c.replies {
			s.replies[k] = v
		}
		port := s.listen(t, "127.0.0.1", "0")
		a, _ := newAgent(t)
		for _, r := range a.Deliver(t.Context(), request("s.test:"+port, "x\n")) {
			if r.Down != c.down {
				t.Errorf("%s: down %v: %s", name, r.Down, lines([]deliver.Result{r}))
			}
		}
	}
	for domain, down := range map[string]bool{"s.test:1": true, "servfail.test": true, "nx.test": false} {
		a, _ := newAgent(t)
		if r := a.Deliver(t.Context(), request(domain, "x\n")); r[0].Down != down {
			t.Errorf("%s: down %v: %s", domain, r[0].Down, lines(r))
		}
	}
	second := &server{replies: map[string]string{"RCPT": "450 later"}}
	port := second.listen(t, "127.0.0.2", "0")
	a, _ := newAgent(t)
	if r := a.Deliver(t.Context(), request("two.test:"+port, "x\n")); r[0].Down {
		t.Errorf("down though another host answered: %s", lines(r))
	}
}
