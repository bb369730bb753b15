-- Purpose:  the objects that a video platform by GA/T 1400 pushes: non-motor vehicles, as the platform's JSON has them.
-- Inputs:   topic viid-pushes; each record is one push, a list of objects. Members that are not named here are not looked at.
-- Outputs:  the stream of pushes.
-- Limits:   all members are texts, as the standard's JSON has them, also what is a number or a flag; an object whose members have
--           another type goes to viid-pushes.rejected. A platform that sends numbers as numbers needs DOUBLE here instead.

SET TIME ZONE = 'Asia/Shanghai';            -- the standard's times are local and name no zone: this is the devices' one

CREATE STREAM viid_pushes (
    "NonMotorVehicleListObject" STRUCT(
        "NonMotorVehicleObject" STRUCT(
            "NonMotorVehicleID" VARCHAR,    -- 48 digits; unique
            "DeviceID"          VARCHAR,    -- 20 digits
            "AppearTime"        VARCHAR,    -- YYYYMMDDhhmmss, local
            "MarkTime"          VARCHAR,
            "HasPlate"          VARCHAR,    -- 0, 1
            "PlateNo"           VARCHAR,
            "IsDecked"          VARCHAR,    -- 1: the plate is another vehicle's
            "IsAltered"         VARCHAR,
            "IsCovered"         VARCHAR,
            "PlateReliability"  VARCHAR,    -- 0..1, or 0..100 by vendor
            "Similaritydegree"  VARCHAR,    -- of the person, 0..1, or 0..100 by vendor
            "VehicleType"       VARCHAR,
            "VehicleBrand"      VARCHAR,
            "VehicleColor"      VARCHAR,
            "Helmet"            VARCHAR,    -- beyond the standard, which has no such field: 0 none, 1 worn
            "Riders"            VARCHAR     -- beyond the standard: how many sit on it
        )[]
    )
) WITH (topic = 'viid-pushes', format = 'json');
