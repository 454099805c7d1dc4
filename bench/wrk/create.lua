-- POST /fhir/Observation: a heart rate of 1.3 kB, another value and one of 1,000 patients each time.
--   wrk -t1 -c16 -d10 --latency -s bench/wrk/create.lua http://127.0.0.1:8080/fhir/Observation
local body = [[{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital Signs"}],"text":"Vital Signs"}],"code":{"coding":[{"system":"http://loinc.org","code":"8867-4","display":"Heart rate"},{"system":"urn:iso:std:iso:11073:10101","code":"147842","display":"MDC_ECG_HEART_RATE"}],"text":"Heart rate"},"subject":{"reference":"Patient/p%d","display":"Patient %d"},"effectiveDateTime":"2026-03-%02dT%02d:%02d:%02d+08:00","issued":"2026-03-28T08:00:05.123+08:00","performer":[{"display":"Ward 3 monitor"}],"valueQuantity":{"value":%d.%d,"unit":"beats/min","system":"http://unitsofmeasure.org","code":"/min"},"interpretation":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","code":"N","display":"Normal"}]}],"referenceRange":[{"low":{"value":60,"unit":"beats/min","system":"http://unitsofmeasure.org","code":"/min"},"high":{"value":100,"unit":"beats/min","system":"http://unitsofmeasure.org","code":"/min"},"text":"60 to 100"}],"identifier":[{"system":"urn:x-yilian:bench","value":"%08x%08x"}],"note":[{"text":"Taken at rest, patient lying, no movement artefact seen during the minute before."}]}]]
local random = math.random

function init()
  math.randomseed(os.time())
end

function request()
  local patient = random(0, 999)
  return wrk.format("POST", nil, {["Content-Type"] = "application/fhir+json"}, string.format(
    body, patient, patient, random(1, 28), random(0, 23), random(0, 59), random(0, 59),
    random(40, 140), random(0, 9), random(0, 0x7fffffff), random(0, 0x7fffffff)))
end

local failed = 0
function response(status)
  if status ~= 201 then failed = failed + 1 end
end

function done(summary, latency, requests)
  io.write(string.format("p95 %.2fms\n", latency:percentile(95) / 1000))
end
