package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/safefile"
)

// Options are what a Collector needs.
type Options struct {
	Organization string // who reports
	Contact      string // address that reports come from
	// File keeps the sums over restarts.
	File string
	// Mail sends a letter with a report, and Post uploads one; both may be tried
	// again.
	Mail func(ctx context.Context, to string, r Report) error
	Post func(ctx context.Context, url string, r Report) error
	// Spread is how long after midnight reports are sent, so that not everybody does
	// it at once (RFC 8460 section 4.1).
	Spread time.Duration
	Clock  clock.Clock
	Log    *slog.Logger
}

// Collector sums results up by day and domain and sends a report after each
// day (UTC). It is safe for concurrent use.
type Collector struct {
	o Options

	mu    sync.Mutex
	days  map[string]map[string]*domain // by day, as 2006-01-02, and domain
	dirty bool
}

// domain is what is known of a domain on a day.
type domain struct {
	Record   string     `json:"record"`
	Policies []*summary `json:"policies"`
	Sent     []string   `json:"sent,omitempty"` // destinations that have the report
}

// summary is what became of the sessions under one policy.
type summary struct {
	Policy  Policy `json:"policy"`
	Summary struct {
		Good int `json:"total-successful-session-count"`
		Bad  int `json:"total-failure-session-count"`
	} `json:"summary"`
	Failures []*failures `json:"failure-details,omitempty"`
}

// failures are equal failures.
type failures struct {
	Failure
	Count int `json:"failed-session-count"`
}

// maxFailures is how many different failures are kept for a policy; the rest are
// counted in its sum.
const maxFailures = 500

// keepDays is how long a report that cannot be sent is tried again.
const keepDays = 3

// NewCollector returns a collector with what the file has.
func NewCollector(o Options) (*Collector, error) {
	c := &Collector{o: o, days: make(map[string]map[string]*domain)}
	text, err := os.ReadFile(o.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("TLSRPT: %w", err)
	}
	if err := json.Unmarshal(text, &c.days); err != nil {
		return nil, fmt.Errorf("TLSRPT: %s is damaged; remove it: %w", o.File, err)
	}
	return c, nil
}

const dayFormat = "2006-01-02"

// Report takes a result.
func (c *Collector) Report(r Result) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	day := c.o.Clock.Now().UTC().Format(dayFormat)
	if c.days[day] == nil {
		c.days[day] = make(map[string]*domain)
	}
	d := c.days[day][r.Domain]
	if d == nil {
		d = &domain{}
		c.days[day][r.Domain] = d
	}
	d.Record = r.Record
	d.policy(r.Policy).count(r.Failure)
	c.dirty = true
	return nil
}

func (d *domain) policy(p Policy) *summary {
	for _, s := range d.Policies {
		if s.Policy.Kind == p.Kind && s.Policy.Domain == p.Domain && slices.Equal(s.Policy.Strings, p.Strings) && slices.Equal(s.Policy.MXHosts, p.MXHosts) {
			return s
		}
	}
	s := &summary{Policy: p}
	d.Policies = append(d.Policies, s)
	return s
}

func (s *summary) count(f *Failure) {
	if f == nil {
		s.Summary.Good++
		return
	}
	s.Summary.Bad++
	for _, o := range s.Failures {
		if o.Failure == *f {
			o.Count++
			return
		}
	}
	if len(s.Failures) < maxFailures {
		s.Failures = append(s.Failures, &failures{*f, 1})
	}
}

// Report is one report, ready to be sent.
type Report struct {
	ID           string
	Domain       string
	Organization string
	Contact      string
	Begin, End   time.Time
	Body         []byte // JSON, compressed by gzip
}

// FileName is the name of the report's file (RFC 8460 section 5.1).
func (r Report) FileName() string {
	return fmt.Sprintf("%s!%s!%d!%d!%s.json.gz", r.Organization, r.Domain, r.Begin.Unix(), r.End.Unix(), r.ID)
}

// Run keeps the sums in the file and sends reports, until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	for {
		c.save()
		c.send(ctx)
		if c.o.Clock.Sleep(ctx, 10*time.Minute) != nil {
			c.save()
			return
		}
	}
}

func (c *Collector) save() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return
	}
	text, err := json.Marshal(c.days)
	if err == nil {
		err = safefile.Write(c.o.File, text, 0o600)
	}
	if err != nil {
		c.o.Log.Warn(fmt.Sprintf("TLSRPT: cannot keep the results of sessions: %v", err))
		return
	}
	c.dirty = false
}

// due is a report that is to be sent to somebody.
type due struct {
	day, domain string
	to          []string
	report      Report
}

// send sends what is due. What cannot be sent is tried again for some days.
func (c *Collector) send(ctx context.Context) {
	for _, d := range c.due() {
		for _, to := range d.to {
			if err := c.sendTo(ctx, to, d.report); err != nil {
				c.o.Log.Warn(fmt.Sprintf("TLSRPT: report for %s to %s: %v; will be tried again", d.domain, to, err))
				continue
			}
			c.o.Log.Info(fmt.Sprintf("TLSRPT: report %s for %s sent to %s", d.report.ID, d.domain, to))
			c.sent(d, to)
		}
	}
}

func (c *Collector) sendTo(ctx context.Context, to string, r Report) error {
	if address, ok := strings.CutPrefix(to, "mailto:"); ok {
		address, _, _ = strings.Cut(address, "?")
		return c.o.Mail(ctx, address, r)
	}
	if strings.HasPrefix(to, "https:") {
		return c.o.Post(ctx, to, r)
	}
	return fmt.Errorf("neither mailto: nor https:")
}

// due finds the reports of days that are over, and forgets old ones.
func (c *Collector) due() (list []due) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Clock.Now().UTC()
	for day, domains := range c.days {
		begin, err := time.Parse(dayFormat, day)
		end := begin.AddDate(0, 0, 1)
		switch {
		case err != nil || now.After(end.AddDate(0, 0, keepDays)):
			delete(c.days, day)
			c.dirty = true
			continue
		case now.Before(end.Add(c.o.Spread)):
			continue
		}
		for name, d := range domains {
			var to []string
			for _, address := range Destinations(d.Record) {
				if !slices.Contains(d.Sent, address) {
					to = append(to, address)
				}
			}
			if len(to) == 0 {
				continue
			}
			r, err := c.report(name, d, begin, end)
			if err != nil {
				c.o.Log.Error(fmt.Sprintf("TLSRPT: report for %s: %v", name, err))
				continue
			}
			list = append(list, due{day, name, to, r})
		}
	}
	slices.SortFunc(list, func(a, b due) int { return strings.Compare(a.day+a.domain, b.day+b.domain) })
	return list
}

func (c *Collector) sent(d due, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if domains := c.days[d.day]; domains != nil && domains[d.domain] != nil {
		domains[d.domain].Sent = append(domains[d.domain].Sent, to)
		c.dirty = true
	}
}

// report writes the report of one domain and day (RFC 8460 section 4.4).
func (c *Collector) report(name string, d *domain, begin, end time.Time) (Report, error) {
	var random [8]byte
	rand.Read(random[:]) // never fails
	r := Report{ID: begin.Format(dayFormat) + "-" + hex.EncodeToString(random[:]), Domain: name,
		Organization: c.o.Organization, Contact: c.o.Contact, Begin: begin, End: end.Add(-time.Second)}
	type dateRange struct {
		Start string `json:"start-datetime"`
		End   string `json:"end-datetime"`
	}
	text, err := json.Marshal(struct {
		Organization string     `json:"organization-name"`
		Range        dateRange  `json:"date-range"`
		Contact      string     `json:"contact-info"`
		ID           string     `json:"report-id"`
		Policies     []*summary `json:"policies"`
	}{r.Organization, dateRange{r.Begin.Format(time.RFC3339), r.End.Format(time.RFC3339)}, r.Contact, r.ID, d.Policies})
	if err != nil {
		return r, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		return r, err
	}
	if err := z.Close(); err != nil {
		return r, err
	}
	r.Body = packed.Bytes()
	return r, nil
}
