// Package sentinelv1 is the public API: what is generated from the files beside it, and its JSON.
package sentinelv1

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// JSON is a message as sentinelctl and the HTTP port write it: the proto's snake_case names in their order, no key left out
// (what is not set is null), numbers as numbers, times as RFC 3339 in UTC, durations as whole or broken milliseconds under a
// name in _ms.
// protojson differs: it writes 64-bit integers as strings and leaves unset members of a oneof out.
func JSON(m proto.Message) []byte {
	return appendMessage(nil, m.ProtoReflect())
}

func appendMessage(b []byte, m protoreflect.Message) []byte {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return strconv.AppendQuote(b, v.AsTime().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	case *durationpb.Duration:
		return appendFloat(b, float64(v.AsDuration())/float64(time.Millisecond))
	}
	b = append(b, '{')
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendJSONString(b, keyName(f))
		b = append(b, ':')
		b = appendField(b, m, f)
	}
	return append(b, '}')
}

func keyName(f protoreflect.FieldDescriptor) string {
	name := string(f.Name())
	if f.Message() != nil && f.Message().FullName() == "google.protobuf.Duration" && !strings.HasSuffix(name, "_ms") {
		name += "_ms"
	}
	return name
}

func appendField(b []byte, m protoreflect.Message, f protoreflect.FieldDescriptor) []byte {
	v := m.Get(f)
	switch {
	case f.IsMap():
		return appendMap(b, f, v.Map())
	case f.IsList():
		b = append(b, '[')
		for i := range v.List().Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, f, v.List().Get(i))
		}
		return append(b, ']')
	case f.HasPresence() && !m.Has(f):
		return append(b, "null"...)
	}
	return appendValue(b, f, v)
}

func appendMap(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	keys := make([]string, 0, m.Len())
	values := map[string]protoreflect.Value{}
	for k, v := range m.Range {
		keys = append(keys, k.String())
		values[k.String()] = v
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(AppendJSONString(b, k), ':')
		b = appendValue(b, f.MapValue(), values[k])
	}
	return append(b, '}')
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return AppendJSONString(b, string(e.Name()))
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return strconv.AppendInt(b, v.Int(), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return appendFloat(b, v.Float())
	case protoreflect.StringKind:
		return AppendJSONString(b, v.String())
	case protoreflect.BytesKind:
		return AppendJSONString(b, base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	}
	panic(fmt.Sprintf("sentinelv1: field %s has unknown kind %v", f.FullName(), f.Kind()))
}

func appendFloat(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// AppendJSONString appends a quoted string as [JSON] writes it.
func AppendJSONString(b []byte, s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	// A string has no value that cannot be encoded.
	_ = enc.Encode(s)
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}
