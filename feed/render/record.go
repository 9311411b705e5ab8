package render

import (
	"encoding/base64"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// TimeLayout is how times are written for people: RFC 3339, always with nine
// digits, so that they stand under each other.
const TimeLayout = "2006-01-02T15:04:05.000000000Z"

// AppendText appends a record as a line for people, without the line end. Known
// says that fields are those of the body; else the body is quoted.
func AppendText(dst []byte, r wire.Record, fields []feed.Field, known bool) []byte {
	dst = r.Receive().Time().AppendFormat(dst, TimeLayout)
	dst = append(dst, ' ')
	dst = append(dst, r.Topic()...)
	dst = append(dst, " #"...)
	dst = strconv.AppendUint(dst, uint64(r.TopicSeq()), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.Kind().String()...)
	if r.Event() != r.Receive() {
		dst = append(dst, " event="...)
		dst = r.Event().Time().AppendFormat(dst, TimeLayout)
	}
	if r.Flags()&^wire.FlagWide != 0 {
		dst = append(dst, " flags="...)
		dst = AppendFlags(dst, r.Flags(), "")
	}
	if !known {
		dst = append(dst, " body="...)
		return strconv.AppendQuote(dst, string(r.Body()))
	}
	for i := range fields {
		dst = append(dst, ' ')
		dst = append(dst, fields[i].Name...)
		dst = append(dst, '=')
		if fields[i].Value == nil {
			dst = append(dst, '-')
		} else {
			dst = AppendValue(dst, fields[i].Value)
		}
	}
	return dst
}

// AppendJSON appends a record as a JSON object of message_type "record", without
// a line end. Known says that fields are those of the body; else the body is
// given in base64.
func AppendJSON(dst []byte, r wire.Record, fields []feed.Field, known bool) []byte {
	dst = append(dst, `{"message_type":"record","topic":`...)
	dst = AppendJSONString(dst, string(r.Topic()))
	dst = append(dst, `,"topic_seq":`...)
	dst = strconv.AppendUint(dst, uint64(r.TopicSeq()), 10)
	dst = append(dst, `,"kind":"`...)
	dst = append(dst, r.Kind().String()...)
	dst = append(dst, `","event_time":`...)
	dst = strconv.AppendInt(dst, int64(r.Event()), 10)
	dst = append(dst, `,"receive_time":`...)
	dst = strconv.AppendInt(dst, int64(r.Receive()), 10)
	dst = append(dst, `,"flags":[`...)
	dst = AppendFlags(dst, r.Flags(), `"`)
	if !known {
		dst = append(dst, `],"body_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, r.Body())
		return append(dst, `"}`...)
	}
	dst = append(dst, `],"body":{`...)
	for i := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSONString(dst, fields[i].Name)
		dst = append(dst, ':')
		dst = AppendJSONValue(dst, fields[i].Value)
	}
	return append(dst, `}}`...)
}

// flagNames are the flags of a record, in the order of their bits.
var flagNames = [...]struct {
	name string
	flag wire.RecordFlags
}{
	{"no_event_time", wire.FlagNoEventTime},
	{"no_receive_time", wire.FlagNoReceiveTime},
	{"snapshot", wire.FlagSnapshot},
}

// AppendFlags appends the names of the flags that are set, each within quote,
// with commas between them.
func AppendFlags(dst []byte, flags wire.RecordFlags, quote string) []byte {
	sep := ""
	for i := range flagNames {
		if flags&flagNames[i].flag == 0 {
			continue
		}
		dst = append(append(dst, sep...), quote...)
		dst = append(append(dst, flagNames[i].name...), quote...)
		sep = ","
	}
	return dst
}
