package raftfsm

import (
	"fmt"
	"log/slog"
)

const secretMask = "******"

// Secret is a password. It prints as ****** by every formatter; [Secret.Reveal] is the one way to its text.
type Secret struct{ text string }

// NewSecret wraps a password; "" is no password.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal is the password itself, for the wire to Redis and for the replicated state, and for nothing else.
func (s Secret) Reveal() string { return s.text }

// IsZero tells whether there is no password.
func (s Secret) IsZero() bool { return s.text == "" }

// String masks.
func (s Secret) String() string { return secretMask }

// Format masks under every verb, %#v and %x included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secretMask)) }

// MarshalText masks in JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(secretMask), nil }

// LogValue masks in log records.
func (s Secret) LogValue() slog.Value { return slog.StringValue(secretMask) }
