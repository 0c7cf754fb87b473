// Package mtasts finds out which mail exchangers a domain has and that they
// speak TLS, by its policy on the web (RFC 8461). Policies are kept as long as
// they allow, over restarts too.
//
// It connects to no mail exchanger; what a policy means for a connection is the
// SMTP client's business.
package mtasts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
	"sekisho/internal/safefile"
)

// Mode is what a domain wants done when its policy is not fulfilled.
type Mode string

// The modes of RFC 8461 section 5.
const (
	Enforce Mode = "enforce" // do not deliver
	Testing Mode = "testing" // deliver, and report
	None    Mode = "none"    // there is no policy any more
)

// Policy is a domain's policy.
type Policy struct {
	Mode  Mode     `json:"mode"`
	MX    []string `json:"mx"` // patterns
	Lines []string `json:"lines"`
	ID    string   `json:"id"` // of its announcement in the DNS
	// Until is when it must be forgotten, Fetched when it was read last.
	Until   time.Time `json:"until"`
	Fetched time.Time `json:"fetched"`
}

// Limits of RFC 8461.
const (
	maxSize     = 64 << 10
	maxAge      = 31557600 * time.Second
	refreshTime = 24 * time.Hour  // a policy is read again this often, that it may never expire
	retryTime   = 5 * time.Minute // after an attempt that failed
)

// Parse reads the text of a policy. age is how long it may be kept.
func Parse(text string) (p Policy, age time.Duration, err error) {
	seen := map[string]string{}
	for _, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p.Lines = append(p.Lines, line)
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return p, 0, fmt.Errorf("%q is no \"name: value\"", line)
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if name == "mx" {
			p.MX = append(p.MX, strings.ToLower(strings.TrimSuffix(value, ".")))
		} else if _, again := seen[name]; !again { // the first counts (section 3.2)
			seen[name] = value
		}
	}
	if seen["version"] != "STSv1" {
		return p, 0, fmt.Errorf("version is %q and not STSv1", seen["version"])
	}
	p.Mode = Mode(seen["mode"])
	if p.Mode != Enforce && p.Mode != Testing && p.Mode != None {
		return p, 0, fmt.Errorf("unknown mode %q", p.Mode)
	}
	if p.Mode != None && len(p.MX) == 0 {
		return p, 0, errors.New("no mx")
	}
	seconds, err := strconv.ParseUint(seen["max_age"], 10, 31)
	if err != nil {
		return p, 0, fmt.Errorf("max_age %q is no number of seconds", seen["max_age"])
	}
	return p, min(time.Duration(seconds)*time.Second, maxAge), nil
}

// id reads the announcement of a policy; empty when there is none (section 3.1).
func id(records []dns.Record) string {
	found := ""
	for _, r := range records {
		fields := strings.Split(r.Data, ";")
		if strings.TrimSpace(fields[0]) != "v=STSv1" {
			continue
		}
		for _, f := range fields[1:] {
			if name, value, _ := strings.Cut(strings.TrimSpace(f), "="); strings.TrimSpace(name) == "id" {
				if found != "" {
					return "" // more than one announcement is none
				}
				found = strings.TrimSpace(value)
			}
		}
	}
	return found
}

// Options are what a Cache needs.
type Options struct {
	Query func(ctx context.Context, name, typ string) dns.Answer
	// Fetch reads the text of a domain's policy from the web; see FromWeb.
	Fetch func(ctx context.Context, domain string) (string, error)
	File  string // keeps policies over restarts
	Clock clock.Clock
	Log   *slog.Logger
}

// Cache knows the policies of domains. It is safe for concurrent use.
type Cache struct {
	o Options

	mu       sync.Mutex
	policies map[string]Policy
	failed   map[string]attempt
	asking   map[string]chan struct{} // closed when the answer is there
}

// attempt is one that failed.
type attempt struct {
	at  time.Time
	err error
}

// maxFailed is how many failed attempts are remembered.
const maxFailed = 10000

// New returns a cache with the policies of its file.
func New(o Options) (*Cache, error) {
	c := &Cache{o: o, policies: map[string]Policy{}, failed: map[string]attempt{}, asking: map[string]chan struct{}{}}
	text, err := os.ReadFile(o.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("MTA-STS: %w", err)
	}
	if err := json.Unmarshal(text, &c.policies); err != nil {
		return nil, fmt.Errorf("MTA-STS: %s is damaged; remove it: %w", o.File, err)
	}
	return c, nil
}

// Policy returns the policy of a domain; found is false when there is none, or
// none that is in force. The error says why a policy that was announced could
// not be read, when there is no older one either. Equal questions are asked once.
func (c *Cache) Policy(ctx context.Context, domain string) (p Policy, found bool, err error) {
	for {
		c.mu.Lock()
		wait, busy := c.asking[domain]
		if !busy {
			done := make(chan struct{})
			c.asking[domain] = done
			c.mu.Unlock()
			defer func() {
				c.mu.Lock()
				delete(c.asking, domain)
				c.mu.Unlock()
				close(done)
			}()
			return c.ask(ctx, domain)
		}
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return Policy{}, false, ctx.Err()
		}
	}
}

// ask looks whether the policy is known, still announced as it was, and fresh,
// and reads it otherwise (section 5.1).
func (c *Cache) ask(ctx context.Context, domain string) (Policy, bool, error) {
	now := c.o.Clock.Now()
	c.mu.Lock()
	p, known := c.policies[domain]
	last, tried := c.failed[domain]
	c.mu.Unlock()
	known = known && now.Before(p.Until)
	announced := id(c.o.Query(ctx, "_mta-sts."+domain, "TXT").Records)
	switch {
	case announced == "" && !known:
		return Policy{}, false, nil
	case known && (announced == "" || announced == p.ID && now.Sub(p.Fetched) < refreshTime):
		return p, p.Mode != None, nil
	case tried && now.Sub(last.at) < retryTime && known:
		return p, p.Mode != None, nil
	case tried && now.Sub(last.at) < retryTime:
		return Policy{}, false, last.err
	}
	fresh, err := c.read(ctx, domain, announced, now)
	if err == nil {
		return fresh, fresh.Mode != None, nil
	}
	c.fail(domain, attempt{now, err})
	if known {
		c.o.Log.Warn(fmt.Sprintf("MTA-STS: %s: %v; the policy of %s stays in force", domain, err, p.Fetched.UTC().Format(time.RFC3339)))
		return p, p.Mode != None, nil
	}
	return Policy{}, false, err
}

func (c *Cache) fail(domain string, a attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= maxFailed {
		clear(c.failed)
	}
	c.failed[domain] = a
}

// ErrInvalid: a policy is there, and makes no sense.
var ErrInvalid = errors.New("invalid policy")

func (c *Cache) read(ctx context.Context, domain, id string, now time.Time) (Policy, error) {
	text, err := c.o.Fetch(ctx, domain)
	if err != nil {
		return Policy{}, fmt.Errorf("cannot read the policy: %w", err)
	}
	p, age, err := Parse(text)
	if err != nil {
		return Policy{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	p.ID, p.Fetched, p.Until = id, now, now.Add(age)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policies[domain] = p
	delete(c.failed, domain)
	c.save(now)
	return p, nil
}

// save keeps the policies that are in force; c.mu is held.
func (c *Cache) save(now time.Time) {
	for domain, p := range c.policies {
		if now.After(p.Until) {
			delete(c.policies, domain)
		}
	}
	text, err := json.Marshal(c.policies)
	if err == nil {
		err = safefile.Write(c.o.File, text, 0o600)
	}
	if err != nil {
		c.o.Log.Warn(fmt.Sprintf("MTA-STS: cannot keep the policies: %v", err))
	}
}

// FromWeb returns a function that reads policies with client, which must verify
// certificates. Redirects are not followed (section 3.3).
func FromWeb(client *http.Client) func(ctx context.Context, domain string) (string, error) {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return func(ctx context.Context, domain string) (string, error) {
		url := "https://mta-sts." + domain + "/.well-known/mta-sts.txt"
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		answer, err := own.Do(q)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s says %s", url, answer.Status)
		}
		if kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "text/plain") {
			return "", fmt.Errorf("%s is %q and not text/plain", url, kind)
		}
		text, err := io.ReadAll(io.LimitReader(answer.Body, maxSize+1))
		if err == nil && len(text) > maxSize {
			err = fmt.Errorf("%s is longer than %d bytes", url, maxSize)
		}
		return string(text), err
	}
}
