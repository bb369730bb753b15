-- Purpose:  which violations count: all that were not voided, with what their offence is held to be at their time.
-- Inputs:   violations, violation_voids, offences.
-- Outputs:  standing_violations, read by the campaign statistics, the warnings of risk and the exposure of enterprises.
-- Rules:    an offence that the list does not have in force at the time is not serious.

CREATE VIEW standing_violations AS
SELECT
    v.violation_id, v.occurred_at, v.offence, v.division, v.brigade_id, plate_normalize(v.plate) AS plate, v.driver_id,
    v.vehicle_class, v.points, v.gross_mass_t, v.road_id, v.direction, v.chainage_m, coalesce(o.serious, false) AS serious
FROM violations AS v
LEFT JOIN offences FOR SYSTEM_TIME AS OF v.occurred_at AS o ON o.offence = v.offence
WHERE NOT EXISTS (SELECT 1 FROM violation_voids AS x WHERE x.violation_id = v.violation_id);
