-- POST /fhir: transactions of 12 or 100 observations of one patient.
--   wrk -t1 -c4 -d10 --latency -s bench/wrk/transaction.lua http://127.0.0.1:8080/fhir -- 100
local size = 100
local random = math.random
local entry = [[{"resource":{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/p%d"},"effectiveDateTime":"2026-%02d-%02dT%02d:%02d:%02dZ","valueQuantity":{"value":%d.%d,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"},"note":[{"text":"]] .. string.rep("Taken at rest, patient lying. ", 12) .. [["}]},"request":{"method":"POST","url":"Observation"}}]]

function init(args)
  math.randomseed(os.time())
  size = tonumber(args[1] or "100")
end

function request()
  local patient, parts = random(0, 999), {}
  for n = 1, size do
    parts[n] = string.format(entry, patient, random(1, 12), random(1, 28), random(0, 23),
      random(0, 59), random(0, 59), random(40, 180), random(0, 9))
  end
  return wrk.format("POST", nil, {["Content-Type"] = "application/fhir+json", ["Prefer"] = "return=minimal"},
    [[{"resourceType":"Bundle","type":"transaction","entry":[]] .. table.concat(parts, ",") .. "]}")
end

function done(summary, latency, requests)
  io.write(string.format("p95 %.2fms\n", latency:percentile(95) / 1000))
end
